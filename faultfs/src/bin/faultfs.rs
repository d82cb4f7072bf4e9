//! The disk by hand: `faultfs MOUNT_POINT [SEED]`, and then a command on each line of its input.
//!
//! ```text
//! cut dropped|torn                   now
//! cut dropped|torn write|sync N      before the n-th from now on
//! fail EIO|ENOSPC write|sync N       the n-th from now on
//! power PID                          that process is killed by the next cut
//! mount                              anew, after a cut
//! size BYTES|any                     of the disk
//! status
//! ```

use std::io::BufRead;
use std::process::ExitCode;

use faultfs::{Cut, Disk, Errno, Fault, Mount, Names, Operation};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(at) = arguments.first() else {
        eprintln!("usage: faultfs MOUNT_POINT [SEED]");
        return ExitCode::from(2);
    };
    let seed = arguments.get(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let disk = Disk::new(seed, Names::Strict);
    let mut mounted = match disk.mount(at.as_ref()) {
        Ok(mount) => Some(mount),
        Err(error) => {
            eprintln!("faultfs: cannot mount on {at}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match obey(&disk, &mut mounted, at, &words) {
            Ok(()) => println!("done: {line}"),
            Err(why) => println!("error: {line}: {why}"),
        }
    }
    ExitCode::SUCCESS
}

fn obey(disk: &Disk, mounted: &mut Option<Mount>, at: &str, words: &[&str]) -> Result<(), String> {
    match words {
        ["cut", how] => disk.cut(cut(how)?),
        ["cut", how, operation, n] => {
            disk.plan(of(operation)?, number(n)?, Fault::Cut(cut(how)?));
        }
        ["fail", "EIO", operation, n] => {
            disk.plan(of(operation)?, number(n)?, Fault::Fail(Errno::EIO));
        }
        ["fail", "ENOSPC", operation, n] => {
            disk.plan(of(operation)?, number(n)?, Fault::Fail(Errno::ENOSPC));
        }
        ["power", process] => {
            disk.power(Some(process.parse().map_err(|_| format!("{process} is no process id"))?));
        }
        ["mount"] => {
            *mounted = None;
            *mounted = Some(disk.mount(at.as_ref()).map_err(|error| error.to_string())?);
        }
        ["size", "any"] => disk.set_size(None),
        ["size", bytes] => disk.set_size(Some(number(bytes)?)),
        ["status"] => println!("used={} unsynced={}", disk.used(), disk.unsynced()),
        _ => return Err("not a command; they are at the head of faultfs/src/bin/faultfs.rs".into()),
    }
    Ok(())
}

fn cut(word: &str) -> Result<Cut, String> {
    match word {
        "dropped" => Ok(Cut::Dropped),
        "torn" => Ok(Cut::Torn),
        _ => Err(format!("`{word}` is neither dropped nor torn")),
    }
}

fn of(word: &str) -> Result<Operation, String> {
    match word {
        "write" => Ok(Operation::Write),
        "sync" => Ok(Operation::Sync),
        _ => Err(format!("`{word}` is neither write nor sync")),
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is not a number"))
}
