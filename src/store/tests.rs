//! What an environment survives, and what it refuses to open.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::messages::state::{Change, StoreError};

fn options() -> Options {
    Options { reserve: 0, ..Options::state() }
}

fn open(directory: &Path) -> Result<Arc<Kv>, OpenError> {
    Kv::open(directory, &["meta", "twins"], options())
}

fn pairs(store: &Kv) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.scan("twins", b"", b"", 100).unwrap().to_vec()
}

#[tokio::test]
async fn all_changes_of_one_save_are_made_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let changes = vec![Change::put("meta", "a", "1"), Change::put("twins", "b", vec![7; 100_000])];
    store.save(changes).await.unwrap();
    let bad = vec![Change::put("meta", "a", "2"), Change::put("meta", vec![0; 481], "")];
    assert!(matches!(store.save(bad).await, Err(StoreError::Broken(_))));
    assert_eq!(store.fetch("meta", b"a").unwrap(), Some(b"1".to_vec()));
    drop(store);
    let store = open(directory.path()).unwrap();
    assert_eq!(store.fetch("twins", b"b").unwrap(), Some(vec![7; 100_000]));
}

#[tokio::test]
async fn a_damaged_value_is_left_out_and_the_others_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let put = |key: &str, value: &str| Change::put("twins", key, value);
    store.save(vec![put("a", "one"), put("b", "two-mark"), put("c", "three")]).await.unwrap();
    drop(store);
    flip(&directory.path().join("data.mdb"), b"two-mark");
    let store = open(directory.path()).unwrap();
    assert_eq!(store.fetch("twins", b"b").unwrap(), None);
    let keys: Vec<_> = pairs(&store).into_iter().map(|(key, _)| key).collect();
    assert_eq!((keys, store.damaged()), (vec![b"a".to_vec(), b"c".to_vec()], 2));
    store.save(vec![put("b", "anew")]).await.unwrap();
    assert_eq!(store.fetch("twins", b"b").unwrap(), Some(b"anew".to_vec()));
}

/// Flips one bit of every copy of `mark` in the file.
pub(super) fn flip(path: &Path, mark: &[u8]) {
    let bytes = std::fs::read(path).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    let found: Vec<_> =
        (0..bytes.len() - mark.len()).filter(|at| bytes[*at..].starts_with(mark)).collect();
    assert!(!found.is_empty());
    for at in found {
        file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_refused_before_it_is_mapped() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    for n in 0..40u8 {
        store.save(vec![Change::put("twins", [n], vec![n; 50_000])]).await.unwrap();
    }
    drop(store);
    let path = directory.path().join("data.mdb");
    let whole = std::fs::read(&path).unwrap();
    for part in [whole.len() / 2, 100_000, 5_000, 100, 1] {
        std::fs::write(&path, &whole[..part]).unwrap();
        assert!(matches!(open(directory.path()), Err(OpenError::Damaged(..))), "{part}");
    }
    std::fs::write(&path, vec![0; 100_000]).unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Damaged(..))));
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(pairs(&open(directory.path()).unwrap()).len(), 40);
}

#[tokio::test]
async fn pages_missing_at_the_very_end_are_damage_not_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    for n in 0..40u8 {
        store.save(vec![Change::put("twins", [n], vec![n; 50_000])]).await.unwrap();
    }
    drop(store);
    let path = directory.path().join("data.mdb");
    let length = std::fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length - 40_960).unwrap();
    let store = open(directory.path()).unwrap();
    let found = store.scan("twins", b"", b"", 100);
    assert!(found.is_err() || found.unwrap().len() < 40);
}

#[test]
fn a_store_that_was_never_finished_is_made_anew_and_one_that_was_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.mdb");
    std::fs::write(&data, "half a pa").unwrap();
    std::fs::write(directory.path().join("unfinished"), "").unwrap();
    let id = open(directory.path()).unwrap().id();
    assert_eq!(open(directory.path()).unwrap().id(), id, "it is finished now");
    std::fs::write(&data, "half a pa").unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Damaged(..))));
}

#[test]
fn a_store_in_use_is_refused_naming_the_holder() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let Err(OpenError::InUse(_, holder)) = open(directory.path()) else { panic!("opened twice") };
    assert_eq!(holder, std::process::id().to_string());
    drop(store);
    open(directory.path()).unwrap();
}

#[test]
fn nothing_is_created_in_the_stead_of_an_expected_store() {
    let parent = tempfile::tempdir().unwrap();
    let (mine, other) = (parent.path().join("mine"), parent.path().join("other"));
    let id = Kv::open(&mine, &["t"], options()).unwrap().id();
    drop(Kv::open(&other, &["t"], options()).unwrap());
    let expecting = || Options { expected: Some(id), ..options() };
    assert_eq!(Kv::open(&mine, &["t"], expecting()).unwrap().id(), id);
    assert!(matches!(Kv::open(&other, &["t"], expecting()), Err(OpenError::Other(_))));
    let gone = parent.path().join("gone");
    assert!(matches!(Kv::open(&gone, &["t"], expecting()), Err(OpenError::Missing(_))));
    assert!(!gone.exists());
}

#[test]
fn an_older_format_is_migrated_once_and_a_newer_one_refused() {
    const MIGRATIONS: &[Migration] = &[|tables, txn| {
        let found = tables[0].get(txn, 9, b"n")?.transpose()?.map_or(0, |payload| payload[0]);
        Ok(tables[0].put(txn, 9, b"n", &[&[found + 1]])?)
    }];
    let directory = tempfile::tempdir().unwrap();
    drop(Environment::open(directory.path(), &["t"], options()).unwrap());
    for _ in 0..2 {
        let newer = Options { migrations: MIGRATIONS, ..options() };
        let environment = Environment::open(directory.path(), &["t"], newer).unwrap();
        let txn = environment.read().unwrap();
        let value = environment.table("t").unwrap().get(&txn, 9, b"n").unwrap();
        assert_eq!(value, Some(Ok(&[1][..])));
    }
    let refused = Environment::open(directory.path(), &["t"], options());
    assert!(matches!(refused, Err(OpenError::Newer(_, 2, 1))));
}

#[tokio::test]
async fn the_reserve_is_allocated_behind_what_is_used() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let options = Options { reserve: 1 << 20, ..Options::state() };
    let store = Kv::open(directory.path(), &["t"], options).unwrap();
    store.save(vec![Change::put("t", "k", "v")]).await.unwrap();
    let file = std::fs::metadata(directory.path().join("data.mdb")).unwrap();
    assert!(file.len() >= 1 << 20 && file.blocks() * 512 >= 1 << 20, "{file:?}");
}
