//! Uploads: begun by a device, written as Azure Storage's clients write, read by the owner.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

/// What a device may write.
struct Upload {
    id: String,
    url: String,
    token: String,
}

impl Hub {
    async fn begin(&self, device: &str, name: &str) -> Read {
        let target = format!("/devices/{device}/files");
        self.call("POST", &target, json!({"blobName": name})).await
    }

    async fn begun(&self, device: &str, name: &str) -> Upload {
        let json = self.begin(device, name).await.json;
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        let url = format!("/{}/{}", text("containerName"), text("blobName"));
        Upload { id: text("correlationId"), url, token: text("sasToken") }
    }

    async fn ended(&self, device: &str, upload: &Upload) -> u16 {
        let target = format!("/devices/{device}/files/notifications/{}", upload.id);
        self.call("POST", &target, json!({"isSuccess": true})).await.status
    }

    /// A request with the token in its query, without any other.
    async fn blob(
        &self,
        method: &str,
        upload: &Upload,
        more: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Read {
        let (url, token) = (upload.url.replace(' ', "%20"), &upload.token);
        let mut request = HttpRequest::new(method, &format!("{url}{token}{more}"));
        request.body = Bytes::copy_from_slice(body);
        for (name, value) in headers {
            request.headers.push(((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        }
        self.send(request).await
    }

    async fn put(&self, upload: &Upload, body: &[u8]) -> Read {
        self.blob("PUT", upload, "", &[BLOCK_BLOB], body).await
    }

    async fn put_block(&self, upload: &Upload, id: &str, body: &[u8]) -> Read {
        self.blob("PUT", upload, &format!("&comp=block&blockid={id}"), &[], body).await
    }

    async fn put_list(&self, upload: &Upload, ids: &[&str]) -> Read {
        let list: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let xml = format!("<?xml version=\"1.0\"?><BlockList>{list}</BlockList>");
        self.blob("PUT", upload, "&comp=blocklist", &[], xml.as_bytes()).await
    }

    async fn content(&self, url: &str) -> Bytes {
        let read = self.get(&url.replace(' ', "%20")).await;
        assert_eq!(read.status, 200, "{read:?}");
        read.body
    }
}

const BLOCK_BLOB: (&str, &str) = ("x-ms-blob-type", "BlockBlob");

/// `404 BlobNotFound`, of the header that Azure Storage's clients read.
fn refused(read: &Read) -> String {
    let code = read.header("x-ms-error-code").unwrap_or_default();
    assert!(String::from_utf8_lossy(&read.body).contains(&format!("<Code>{code}</Code><Message>")));
    format!("{} {code}", read.status)
}

#[actix::test]
async fn a_file_is_written_whole_checked_by_md5_and_lies_below_the_state_directory() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    let upload = hub.begun("d", "a/b c.txt").await;
    assert_eq!(upload.url, "/uploads/d/a/b c.txt");
    let put = hub.put(&upload, b"hello").await;
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(put.header("Content-MD5"), Some("XUFAKrxLKna5cZ2REBfFkg=="));
    for name in ["ETag", "Last-Modified", "x-ms-request-id", "x-ms-version"] {
        assert!(put.header(name).is_some(), "{name}");
    }
    let path = hub.folder.path().join("d/a%2Fb c.txt");
    assert_eq!(std::fs::read(path).unwrap(), b"hello");
    assert_eq!(hub.content(&upload.url).await, "hello");
    let md5 = ("content-md5", "XUFAKrxLKna5cZ2REBfFkg==");
    let wrong = hub.blob("PUT", &upload, "", &[BLOCK_BLOB, md5], b"hallo").await;
    assert_eq!(refused(&wrong), "400 Md5Mismatch");
    let new = hub.blob("PUT", &upload, "", &[BLOCK_BLOB, ("if-none-match", "*")], b"x").await;
    assert_eq!(refused(&new), "409 BlobAlreadyExists");
    assert_eq!(hub.content(&upload.url).await, "hello", "neither changed it");
    assert_eq!(hub.blob("PUT", &upload, "", &[BLOCK_BLOB, md5], b"hello").await.status, 201);
    assert_eq!(hub.put(&upload, b"").await.status, 201, "overwritten, and empty");
    assert_eq!(hub.content(&upload.url).await, "");
    for (more, headers) in [("", ("x-ms-blob-type", "PageBlob")), ("&comp=tier", BLOCK_BLOB)] {
        assert!([400, 501].contains(&hub.blob("PUT", &upload, more, &[headers], b"").await.status));
    }
}

#[actix::test]
async fn a_file_is_made_of_blocks_in_the_order_of_the_list() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    let upload = hub.begun("d", "log").await;
    let [a, b, c] = ["a", "b", "c"].map(|id| STANDARD.encode(id.repeat(48)));
    for (id, body) in [(&b, "two"), (&a, "wrong"), (&a, "one"), (&c, "not in the list")] {
        assert_eq!(hub.put_block(&upload, id, body.as_bytes()).await.status, 201);
    }
    assert_eq!(refused(&hub.put_list(&upload, &[&a, "eA=="]).await), "400 InvalidBlockList");
    assert_eq!(hub.get(&upload.url).await.status, 404);
    let listed = hub.put_list(&upload, &[&a, &b, &a]).await;
    assert_eq!((listed.status, listed.header("ETag").is_some()), (201, true));
    assert_eq!(hub.content(&upload.url).await, "onetwoone");
    let open = hub.folder.path().join(".open").join(&upload.id);
    let left: Vec<_> = std::fs::read_dir(open).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["upload.json"], "the blocks are gone");
    assert_eq!(refused(&hub.put_list(&upload, &[&a]).await), "400 InvalidBlockList");
    assert_eq!(refused(&hub.put_block(&upload, "../../x", b"x").await), "400 InvalidBlockId");
    let part = hub.blob("GET", &upload, "", &[("x-ms-range", "bytes=3-5")], b"").await;
    assert_eq!((part.status, part.header("Content-Range")), (206, Some("bytes 3-5/9")));
    assert_eq!((part.header("Content-Length"), &part.body[..]), (Some("3"), &b"two"[..]));
    let beyond = hub.blob("GET", &upload, "", &[("range", "bytes=9-")], b"").await;
    assert_eq!(refused(&beyond), "416 InvalidRange");
}

#[actix::test]
async fn a_token_writes_its_own_blob_until_the_notification_and_as_long_as_its_device_is_there() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    let (one, two) = (hub.begun("d", "one").await, hub.begun("d", "two").await);
    let of =
        |url: &str, token: &str| Upload { id: String::new(), url: url.into(), token: token.into() };
    let forged = one.token.replace("sig=", "sig=A");
    for (url, token) in [
        (&*one.url, &*two.token),
        ("/uploads/e/one", &one.token),
        (&one.url, &forged),
        (&one.url, "?sig=x"),
        ("/uploads/d/../one", &one.token),
    ] {
        let put = hub.put(&of(url, token), b"x").await;
        assert_eq!(refused(&put), "403 AuthenticationFailed", "{url} {token}");
    }
    let mut bare = HttpRequest::new("PUT", &one.url);
    bare.body = Bytes::from_static(b"x");
    assert_eq!(hub.send(bare).await.status, 401);
    assert_eq!(hub.call("PUT", &one.url, json!(1)).await.status, 403, "the owner has no upload");
    assert_eq!(hub.put(&one, b"x").await.status, 201);
    assert_eq!(hub.ended("d", &one).await, 204);
    assert_eq!(refused(&hub.put(&one, b"y").await), "403 AuthenticationFailed");
    hub.call("DELETE", "/devices/d", Value::Null).await;
    assert_eq!(refused(&hub.put(&two, b"x").await), "403 AuthenticationFailed");
    hub.make("/devices/d", json!({})).await;
    assert_eq!(refused(&hub.put(&two, b"x").await), "403 AuthenticationFailed", "of the old one");
    assert_eq!(hub.content(&one.url).await, "x", "what was uploaded is the owner's");
}

#[actix::test]
async fn the_owner_lists_and_deletes_and_names_that_lead_elsewhere_are_refused() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    for name in ["b", ".a/ü"] {
        let upload = hub.begun("d", name).await;
        hub.put(&upload, name.as_bytes()).await;
        hub.ended("d", &upload).await;
    }
    let listed = hub.get("/devices/d/files").await.json;
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|file| &file["blobName"]).collect();
    assert_eq!(names, ["d/.a/ü", "d/b"]);
    assert_eq!((&listed[1]["size"], &listed[1]["name"]), (&json!(1), &json!("b")));
    assert_eq!(hub.call("DELETE", "/uploads/d/.a/%C3%BC", Value::Null).await.status, 202);
    assert_eq!(hub.get("/devices/d/files").await.json.as_array().unwrap().len(), 1);
    for url in ["/uploads/d/nothing", "/uploads/../hub/b", "/uploads/d/%2e%2e/%2e%2e/x"] {
        assert_eq!(refused(&hub.get(url).await), "404 BlobNotFound", "{url}");
    }
    for name in ["", "../x", "a//b", "/x"] {
        assert_eq!(hub.begin("d", name).await.error(), "400 ArgumentInvalid", "{name}");
    }
}

#[actix::test]
async fn no_file_is_too_large_all_together_stay_within_the_budget_and_what_goes_makes_room() {
    let hub = Hub::new().await; // 20,000 bytes a file, 62,000 in all
    hub.make("/devices/d", json!({})).await;
    let upload = hub.begun("d", "f").await;
    let large = hub.put(&upload, &[0; 20_001]).await;
    assert_eq!(refused(&large), "413 RequestBodyTooLarge");
    assert_eq!(hub.put(&upload, &[0; 20_000]).await.status, 201);
    for block in ["YQ==", "Yg==", "Yg==", "Yw=="] {
        assert_eq!(hub.put_block(&upload, block, &[0; 12_000]).await.status, 201, "{block}");
    }
    let both = hub.put_list(&upload, &["YQ==", "Yg=="]).await;
    assert_eq!(refused(&both), "413 RequestBodyTooLarge", "together they are");
    let full = hub.put_block(&upload, "ZA==", &[0; 12_000]).await;
    assert_eq!(refused(&full), "413 InsufficientStorage");
    assert_eq!(hub.content(&upload.url).await.len(), 20_000, "it is as it was");
    assert_eq!(hub.ended("d", &upload).await, 204);
    let next = hub.begun("d", "g").await;
    assert_eq!(hub.put(&next, &[0; 20_000]).await.status, 201, "the blocks made room");
    let mut open = Vec::new();
    for n in 0..9 {
        open.push(hub.begin("d", &format!("n{n}")).await.status);
    }
    assert_eq!(open.iter().filter(|status| **status == 200).count(), 4, "{open:?}");
}
