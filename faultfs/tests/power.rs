//! What LMDB has after a power cut: with its default sync all that it said it had; without, or with
//! a word too early, less. If this file system lost nothing of those two, it would show nothing.
//!
//! The client is another process (this program again), and is killed by the cut. So is whoever looks
//! what is left: a process that maps a file of a disk which it serves itself may wait for itself for
//! ever, as the fault of a page holds what the server's own memory is managed by.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use faultfs::{Cut, Disk, Errno, Fault, Mount, Names, Operation};
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions};

type Numbers = heed::Database<'static, U64<heed::byteorder::BE>, Bytes>;

/// How the client is wrong, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Right,
    NoSync,
    /// Says that a transaction is there before it is committed.
    Early,
    /// Makes the store, and goes.
    Maker,
    /// Says how many transactions are there, in order and whole.
    Reader,
}

#[expect(unsafe_code, reason = "the file is on the file system under test, and nobody else's")]
fn open(directory: &Path, flags: EnvFlags) -> heed::Result<(Env, Numbers)> {
    // SAFETY: one process at a time has it; it is damaged only by what this test does on purpose.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 30).flags(flags).open(directory)? };
    let txn = env.write_txn()?;
    let numbers = env.create_databases_and_commit(txn, |opener, txn| {
        let numbers = opener.create_database(txn, None)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(numbers))
    })?;
    Ok((env, numbers.unwrap_commit()))
}

/// Not a test of its own: the client, when this program is started as one.
#[test]
fn client() {
    let Ok(directory) = std::env::var("FAULTFS_DIRECTORY") else { return };
    let how = std::env::var("FAULTFS_CLIENT").unwrap();
    let flags = if how == "NoSync" { EnvFlags::NO_SYNC } else { EnvFlags::empty() };
    let (env, numbers) = open(directory.as_ref(), flags).unwrap();
    if how == "Maker" {
        return;
    }
    if how == "Reader" {
        println!("\nfound {}", count(&env, numbers).unwrap());
        return;
    }
    let mut out = std::io::stdout().lock();
    let said = |out: &mut std::io::StdoutLock<'_>, n: u64| {
        out.write_all(format!("acked {n}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
    };
    for n in 0.. {
        let mut txn = env.write_txn().unwrap();
        numbers.put(&mut txn, &n, &[n as u8; 300]).unwrap();
        if how == "Early" {
            said(&mut out, n);
            txn.commit().unwrap();
        } else {
            txn.commit().unwrap();
            said(&mut out, n);
        }
    }
}

fn count(env: &Env, numbers: Numbers) -> heed::Result<usize> {
    let txn = env.read_txn()?;
    let mut found = 0;
    for pair in numbers.iter(&txn)? {
        let (n, value) = pair?;
        found += usize::from(n == found as u64 && value == [n as u8; 300]);
    }
    Ok(found)
}

fn start(directory: &Path, client: Client) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "client", "--nocapture"]);
    command.env("FAULTFS_DIRECTORY", directory).env("FAULTFS_CLIENT", format!("{client:?}"));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether this machine can mount; says so if not.
fn can_mount() -> bool {
    let why = faultfs::why_not();
    if let Some(why) = &why {
        eprintln!("SKIPPED: {why}");
    }
    why.is_none()
}

/// A disk with an empty directory on it.
fn disk(seed: u64, at: &Path) -> (Disk, Mount) {
    let disk = Disk::new(seed, Names::Strict);
    let mount = disk.mount(at).unwrap();
    fs::create_dir(at.join("store")).unwrap();
    File::open(at).unwrap().sync_all().unwrap();
    assert!(start(&at.join("store"), Client::Maker).wait().unwrap().success());
    File::open(at.join("store")).unwrap().sync_all().unwrap();
    (disk, mount)
}

/// What the client said of `until` transactions and later, until the cut, and what is found then.
fn run(client: Client, seed: u64, until: usize, cut: impl Fn(&Disk)) -> (usize, Option<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let (disk, mount) = disk(seed, folder.path());
    let store = folder.path().join("store");
    let mut child = start(&store, client);
    disk.power(Some(child.id()));
    let mut acked = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        acked += usize::from(line.unwrap().contains("acked "));
        if acked == until {
            cut(&disk);
        }
    }
    assert!(acked >= until, "the client ended by itself: {acked}");
    child.wait().unwrap();
    drop(mount);
    let mount = disk.mount(folder.path()).unwrap();
    let reader = start(&store, Client::Reader).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&reader.stdout).into_owned();
    let found = said.lines().find_map(|line| line.strip_prefix("found ")?.parse().ok());
    drop(mount);
    (acked, found)
}

#[test]
fn default_sync_loses_nothing_when_all_that_was_not_synced_is_dropped() {
    if !can_mount() {
        return;
    }
    let (acked, found) = run(Client::Right, 1, 300, |disk| disk.cut(Cut::Dropped));
    assert!(found.is_some_and(|found| found >= acked), "{acked} acked, {found:?} found");
}

#[test]
fn default_sync_loses_nothing_when_a_commit_is_cut_in_two_at_any_write_or_sync() {
    if !can_mount() {
        return;
    }
    let mut met = 0;
    for n in 1..=12_u64 {
        let operation = if n % 2 == 0 { Operation::Write } else { Operation::Sync };
        let cut = |disk: &Disk| {
            disk.plan(operation, n.div_ceil(2), Fault::Cut(Cut::Torn));
            assert!(disk.wait_happened(Duration::from_secs(20)));
        };
        let counted = |disk: &Disk| {
            cut(disk);
            assert!(disk.met() > 0 || operation == Operation::Write, "nothing was unsynced");
        };
        let (acked, found) = run(Client::Right, n, 20, counted);
        assert!(found.is_some_and(|found| found >= acked), "{n}: {acked} acked, {found:?} found");
        met += 1;
    }
    assert_eq!(met, 12);
}

#[test]
fn without_sync_what_was_acked_is_gone() {
    if !can_mount() {
        return;
    }
    let (acked, found) = run(Client::NoSync, 1, 300, |disk| disk.cut(Cut::Dropped));
    assert!(found.unwrap_or_default() < acked / 2, "{acked} acked, {found:?} found");
    let torn = (1..=4).filter(|seed| {
        let (acked, found) = run(Client::NoSync, *seed, 300, |disk| disk.cut(Cut::Torn));
        found.is_none_or(|found| found < acked)
    });
    assert!(torn.count() >= 3, "torn cuts are not seen");
}

#[test]
fn a_word_before_the_commit_is_caught_inside_the_commit() {
    if !can_mount() {
        return;
    }
    let caught = (1..=6_u64).filter(|n| {
        let (acked, found) = run(Client::Early, *n, 20, |disk| {
            disk.plan(Operation::Sync, *n, Fault::Cut(Cut::Dropped));
        });
        found.unwrap_or_default() < acked
    });
    assert!(caught.count() >= 3);
}

#[test]
fn a_file_is_there_once_its_directory_was_synced() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(1, Names::Strict);
    let mount = disk.mount(folder.path()).unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("kept")).unwrap();
    fs::write(path("kept/one"), "one").unwrap();
    File::open(path("kept/one")).unwrap().sync_all().unwrap();
    for directory in ["kept", "."] {
        File::open(path(directory)).unwrap().sync_all().unwrap();
    }
    fs::write(path("kept/two"), "two").unwrap();
    File::open(path("kept/two")).unwrap().sync_all().unwrap();
    fs::rename(path("kept/one"), path("kept/moved")).unwrap();
    assert_eq!(fs::read_dir(path("kept")).unwrap().count(), 2);
    disk.cut(Cut::Dropped);
    assert!(fs::write(path("kept/three"), "").is_err(), "there is no power");
    drop(mount);
    let _mount = disk.mount(folder.path()).unwrap();
    assert_eq!(fs::read_to_string(path("kept/one")).unwrap(), "one");
    assert_eq!(fs::read_dir(path("kept")).unwrap().count(), 1);
}

#[test]
fn an_operation_fails_when_it_is_told_to_and_the_next_does_not() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(1, Names::Strict);
    let _mount = disk.mount(folder.path()).unwrap();
    let mut file = File::create(folder.path().join("file")).unwrap();
    disk.plan(Operation::Write, 2, Fault::Fail(Errno::ENOSPC));
    file.write_all(b"first").unwrap();
    let full = file.write_all(b"second").unwrap_err();
    assert_eq!(full.raw_os_error(), Some(28));
    disk.plan(Operation::Sync, 1, Fault::Fail(Errno::EIO));
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.write_all(b"third").and_then(|()| file.sync_all()).unwrap();
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"firstthird");
}

#[test]
fn a_disk_is_full_until_something_is_freed_or_it_is_made_larger() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(1, Names::Strict);
    let _mount = disk.mount(folder.path()).unwrap();
    disk.set_size(Some(64 << 10));
    let path = folder.path().join("file");
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(&path).unwrap();
    let full = file.write_all(&[1; 100 << 10]).unwrap_err();
    assert_eq!((full.raw_os_error(), disk.used()), (Some(28), 64 << 10));
    file.write_all_at(&[2; 4096], 0).unwrap_err(); // appended: O_APPEND
    let over = OpenOptions::new().write(true).open(&path).unwrap();
    over.write_all_at(&[2; 4096], 0).unwrap();
    disk.set_size(Some(68 << 10));
    file.write_all(&[3; 4096]).unwrap();
    file.set_len(4096).unwrap();
    assert_eq!(disk.used(), 4096);
    file.write_all(&[4; 40 << 10]).unwrap();
    let mut found = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut found).unwrap();
    assert_eq!((found.len(), found[0], found[5000]), (44 << 10, 2, 4));
}
