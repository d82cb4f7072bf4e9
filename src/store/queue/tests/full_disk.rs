//! A disk that is full for real: the file may not grow any more, as `ulimit -f` has it.

use std::process::Command;

use super::*;

const SMALL: &str = "EDGE_TEST_SMALL_DISK";
const LIMIT: u64 = 8 << 20;
const RESERVE: u64 = 1 << 20;

/// Runs in a process of its own, started by the test below with a limit on the size of files.
/// Without that it has nothing to do.
#[tokio::test]
async fn fills_its_disk_and_drains_it() {
    let Ok(directory) = std::env::var(SMALL) else { return };
    let options = Options { reserve: RESERVE, ..Options::queue() };
    let store = QueueStore::open(Path::new(&directory), options, TestClock::default()).unwrap();
    let up = Endpoint::upstream();
    let mut state = store.state();
    let big = "x".repeat(3_000);
    let batch = || (0..20).map(|_| (message("d", &big), vec![win(&up, 10)])).collect::<Vec<_>>();
    let mut stored = 0;
    let refused = loop {
        let mut append = Box::pin(store.append(batch()));
        tokio::select! {
            done = &mut append => stored += done.unwrap().taken.len(),
            _ = state.wait_for(|state| *state != WriterState::Ready) => break append,
        }
    };
    assert!(stored as u64 * 3_000 > LIMIT / 2, "only {stored} messages fitted");
    // A relay at full disk drains to zero: ends are committed though nothing can be appended.
    let mut ended = 0;
    while ended < stored {
        let rows = pull(&store, &up, 25).rows;
        let ends: Vec<_> = rows.iter().map(|row| (row.key, End::Delivered)).collect();
        ended += ends.len();
        store.finish(up.clone(), ends).await.unwrap();
    }
    assert_eq!(refused.await.unwrap().taken.len(), 20, "there is room again");
    state.wait_for(|state| *state == WriterState::Ready).await.unwrap();
    assert_eq!(pull(&store, &up, usize::MAX).rows.len(), stored + 20 - ended);
    adds_up(&store);
    println!("drained {ended}");
}

#[test]
fn a_full_disk_stops_appends_but_not_ends_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let test = "store::queue::tests::full_disk::fills_its_disk_and_drains_it";
    let program = std::env::current_exe().unwrap();
    // Blocks of 512 bytes; without the trap the signal would end the process.
    let line = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", LIMIT / 512);
    let run = Command::new("sh")
        .args(["-c", &line, program.to_str().unwrap(), "--exact", "--nocapture", test])
        .env(SMALL, directory.path())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && out.contains("drained "), "{out}\n{errors}");
}
