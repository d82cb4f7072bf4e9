//! What a stored message costs on disk, and that what is freed is used again.

use super::*;

const SENDER: &str = "plant-7/sensor";

fn sized(bytes: usize) -> (Message, Vec<Win>) {
    let body = Bytes::from(vec![b'x'; bytes]);
    let plain = message(SENDER, "");
    (Message { body, bag: Bag::default(), ..plain }, vec![win(&Endpoint::upstream(), 10)])
}

fn file(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("data.mdb")).unwrap().len()
}

/// Bytes of used pages and of the file, per byte of bodies, of messages stored in such batches.
async fn cost(bytes: usize, batch: usize) -> (f64, f64) {
    const MESSAGES: usize = 10_000;
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    for _ in 0..MESSAGES / batch {
        store.append((0..batch).map(|_| sized(bytes)).collect()).await.unwrap();
    }
    let (used, stored) = (store.status().unwrap().used_bytes, (MESSAGES * bytes) as f64);
    (used as f64 / stored, file(directory.path()) as f64 / stored)
}

#[tokio::test]
async fn a_stored_byte_takes_one_and_a_half_on_disk_at_most() {
    for bytes in [256, 1_024] {
        for batch in [20, 500] {
            let (used, file) = cost(bytes, batch).await;
            println!("{bytes} B in batches of {batch}: used {used:.3}, file {file:.3}");
            assert!(used <= 1.5 && file <= 1.5, "{bytes} B, {batch}: {used:.3}, {file:.3}");
        }
    }
}
