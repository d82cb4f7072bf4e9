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

#[tokio::test]
async fn what_is_freed_is_used_again_so_the_file_does_not_grow() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    let mut sizes = Vec::new();
    for _ in 0..8 {
        for _ in 0..20 {
            store.append((0..50).map(|n| sized(100 + n * 60)).collect()).await.unwrap();
        }
        loop {
            let rows = pull(&store, &up, 40).rows;
            let ends: Vec<_> = rows.iter().map(|row| (row.key, End::Delivered)).collect();
            if ends.is_empty() {
                break;
            }
            store.finish(up.clone(), ends).await.unwrap();
        }
        sizes.push(file(directory.path()));
    }
    println!("{sizes:?}");
    assert!(sizes[7] <= sizes[1] + sizes[1] / 20, "it grows: {sizes:?}");
    adds_up(&store);
}
