//! What is on disk outlives the process, and what was left over does not count for ever.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::*;
use crate::protocol::http::BodyStream;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const NOW: u64 = 1_800_000_000;

fn open(root: &Path) -> Rc<Files> {
    let limits = Limits { file: 1 << 20, total: 1 << 20 };
    Rc::new(Files::open(root, KEY, limits).unwrap())
}

fn body(chunks: &[Result<&'static str, &str>]) -> BodyStream {
    let chunks: Vec<_> =
        chunks.iter().map(|chunk| chunk.map(Bytes::from).map_err(str::to_owned)).collect();
    stream::iter(chunks).boxed_local()
}

fn signature(token: &str) -> String {
    let encoded = token.split("&sig=").nth(1).unwrap();
    crate::domain::upload::of_file_name(encoded).unwrap()
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart_and_its_token_ends_with_its_hour() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    let (upload, token) = files.begin("d", "1", "a", NOW).unwrap();
    let (mut block, wish) = (body(&[Ok("x"), Ok("y")]), Wish::default());
    files.put_block(&upload, "YQ==", &mut block, &wish).await.unwrap();
    let used = files.used.get();
    assert_eq!(used, 2 * UNIT, "its record and a block");
    let files = open(folder.path());
    assert_eq!(files.used.get(), used);
    let find = |files: &Files, now| files.find(&upload.id, "d/a", &signature(&token), now);
    assert_eq!(find(&files, NOW + LIFE), Ok(upload.clone()));
    let list = "<BlockList><Latest>YQ==</Latest></BlockList>";
    files.put_block_list(&upload, list, &Wish::default()).await.unwrap();
    assert_eq!(fs::read(files.blob("d", "a").unwrap().path).unwrap(), b"xy");
    assert_eq!(files.used.get(), 2 * UNIT, "its record and the file");
    assert_eq!(find(&files, NOW + LIFE + 1).unwrap_err().status, 403);
    files.begin("d", "1", "b", NOW + LIFE + 1).unwrap();
    let files = open(folder.path());
    assert_eq!(find(&files, NOW).unwrap_err().status, 403, "it was swept");
    assert_eq!(files.used.get(), 2 * UNIT, "the file, and the record of the other");
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    let (upload, _) = files.begin("d", "1", "a", NOW).unwrap();
    let mut broken = body(&[Ok("half"), Err("gone")]);
    let put = files.put(&upload, &mut broken, &Wish::default()).await;
    assert_eq!(put.unwrap_err().status, 400);
    assert!(files.blob("d", "a").is_err());
    assert_eq!(files.used.get(), UNIT);
    assert_eq!(children(&files.staging(&upload.id)).unwrap().len(), 1, "its record");
    let mut silent =
        stream::once(async { Ok(Bytes::from("half")) }).chain(stream::pending()).boxed_local();
    let wish = Wish::default();
    {
        let mut put = Box::pin(files.put(&upload, &mut silent, &wish));
        for _ in 0..50 {
            assert!(futures_util::poll!(&mut put).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(files.used.get(), UNIT, "its client went away");
    assert_eq!(children(&files.staging(&upload.id)).unwrap().len(), 1);
}

#[tokio::test]
async fn an_upload_that_is_ended_while_it_is_written_leaves_nothing_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    let (upload, _) = files.begin("d", "1", "a", NOW).unwrap();
    let (kept, _) = files.begin("d", "1", "b", NOW).unwrap();
    files.put(&kept, &mut body(&[Ok("b")]), &Wish::default()).await.unwrap();
    let (send, mut chunks) = until_dropped(&["half"]);
    let wish = Wish::default();
    let mut put = Box::pin(files.put(&upload, &mut chunks, &wish));
    while files.used.get() == 3 * UNIT {
        assert!(futures_util::poll!(&mut put).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(files.used.get(), 4 * UNIT, "two records, a file, and what is being written");
    files.end(&upload.id, "d").unwrap();
    drop(send);
    assert_eq!(put.await.unwrap_err().status, 500);
    assert!(files.blob("d", "a").is_err());
    assert_eq!(files.used.get(), 2 * UNIT, "a record and a file");
    assert_eq!(open(folder.path()).used.get(), 2 * UNIT, "as it is on disk");
}

/// A body that gives these chunks and ends when the other half is dropped.
fn until_dropped(chunks: &[&'static str]) -> (tokio::sync::mpsc::Sender<()>, BodyStream) {
    let (send, end) = tokio::sync::mpsc::channel::<()>(1);
    let first =
        stream::iter(chunks.iter().map(|chunk| Ok(Bytes::from(*chunk))).collect::<Vec<_>>());
    let wait = stream::unfold(end, |mut end| async move {
        end.recv().await;
        None::<(Result<Bytes, String>, _)>
    });
    (send, first.chain(wait).boxed_local())
}

#[test]
fn a_device_that_never_ends_its_uploads_gets_no_more_for_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    for n in 0..MOST_OPEN {
        files.begin("d", "1", &format!("{n}"), NOW).unwrap();
    }
    let refused = files.begin("d", "1", "more", NOW + LIFE).unwrap_err();
    assert_eq!((refused.status, refused.code), (403, "DeviceMaximumActiveFileUploadLimitExceeded"));
    files.begin("e", "1", "more", NOW).unwrap();
    files.begin("d", "1", "more", NOW + LIFE + 1).unwrap();
}
