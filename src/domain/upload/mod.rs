//! File upload: which names a blob may have, how it is called on disk, and the token of an upload.
//!
//! next: `block_list.rs`; `localhub/files/`, the shell.

mod block_list;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use subtle::ConstantTimeEq;

pub use self::block_list::{block_file, block_list};
use super::bag::escape;
use super::iso8601;
use super::sas::{self, SasError};
use super::service_error::ServiceError;

/// The one container of a hub.
pub const CONTAINER: &str = "uploads";
/// Bytes of a name on disk; file systems take 255, and there is to be room for a suffix.
pub const MOST: usize = 240;
/// Stands for itself in no name: it ends a name, would hide it, or marks what is encoded.
const SPECIAL: &AsciiSet = &CONTROLS.add(b'/').add(b'%').add(b'\\');

/// What a client may do for a while: write one blob.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Upload {
    /// Correlation id.
    pub id: String,
    /// Device id.
    pub device: String,
    /// Of the device: the token is of no use to who bears the id anew.
    pub generation: String,
    /// Without the device before it.
    pub blob: String,
    /// Seconds of Unix time.
    pub expires: u64,
}

/// A name that means the same in a URL and on disk.
pub fn check_name(blob: &str) -> Result<(), ServiceError> {
    let bad = |why: String| Err(ServiceError::bad(format!("blobName {why}")));
    if blob.is_empty() || blob.chars().count() > 1024 {
        return bad("has 1 to 1024 characters".into());
    }
    if blob.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return bad("has no empty parts between its slashes, and no `.` or `..`".into());
    }
    match file_name(blob).len() {
        length if length > MOST => {
            bad(format!("would have {length} bytes as a file's name; {MOST} are the most"))
        }
        _ => Ok(()),
    }
}

/// One name in one directory, of which the text can be got back; never hidden.
pub fn file_name(text: &str) -> String {
    let name = utf8_percent_encode(text, SPECIAL).to_string();
    match name.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => name,
    }
}

/// What [`file_name`] was made of.
pub fn of_file_name(name: &str) -> Option<String> {
    percent_decode_str(name).decode_utf8().ok().map(|text| text.into_owned())
}

impl Upload {
    /// `{device}/{blob}`, as in a URL behind the container.
    pub fn path(&self) -> String {
        format!("{}/{}", self.device, self.blob)
    }

    fn signature(&self, key: &str) -> Result<Vec<u8>, SasError> {
        let Upload { id, device, generation, blob, expires } = self;
        // No id has a line break in it, and the blob is the last.
        sas::sign(key, format!("{id}\n{device}\n{generation}\n{expires}\n{blob}").as_bytes())
    }

    /// What is put behind the blob's URL: names as Azure Storage has them, so that its clients
    /// leave them as they are.
    pub fn token(&self, key: &str) -> Result<String, SasError> {
        let expires = iso8601::text(std::time::Duration::from_secs(self.expires));
        let signature = STANDARD.encode(self.signature(key)?);
        let (id, expires, signature) = (escape(&self.id), escape(&expires), escape(&signature));
        Ok(format!("?sv=2021-08-06&sr=b&sp=rw&se={expires}&si={id}&sig={signature}"))
    }

    /// Whether `path` may be read and written with this signature at `now`.
    pub fn check(&self, path: &str, signature: &str, key: &str, now: u64) -> Result<(), String> {
        let given = STANDARD.decode(signature).unwrap_or_default();
        let right = self.signature(key).map_err(|why| why.to_string())?;
        if !bool::from(right.as_slice().ct_eq(given.as_slice())) {
            return Err("the token is signed with another key".into());
        }
        if path != self.path() {
            return Err(format!("the token is for {}", self.path()));
        }
        if now > self.expires {
            return Err("the token has expired; ask for another at …/files".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_one_name_on_disk_that_leads_nowhere_else_and_can_be_read_back() {
        for (blob, name) in [
            ("a.txt", "a.txt"),
            ("a/b c/ü.txt", "a%2Fb c%2F%C3%BC.txt"),
            (".hidden", "%2Ehidden"),
            ("100%2F", "100%252F"),
            ("a\nb\\c", "a%0Ab%5Cc"),
            ("..", "%2E."),
        ] {
            assert_eq!(file_name(blob), name);
            assert_eq!(of_file_name(name).as_deref(), Some(blob));
        }
        for bad in ["", "..", "a/../b", "/a", "a/", "a//b", ".", &"x".repeat(241), &"/x".repeat(90)]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("a/b..c/.d").is_ok());
    }

    #[test]
    fn a_token_is_for_one_blob_of_one_device_for_a_while() {
        let key = STANDARD.encode("0123456789");
        let upload = Upload {
            id: "c1".into(),
            device: "d".into(),
            generation: "7".into(),
            blob: "a/b".into(),
            expires: 1_700_000_000,
        };
        let token = upload.token(&key).unwrap();
        assert!(token.contains("se=2023-11-14T22%3A13%3A20.000Z&si=c1&sig="), "{token}");
        let signature = token.split("&sig=").nth(1).unwrap();
        let signature = of_file_name(signature).unwrap();
        let check = |upload: &Upload, path: &str, now| upload.check(path, &signature, &key, now);
        assert_eq!(check(&upload, "d/a/b", 1_700_000_000), Ok(()));
        assert!(check(&upload, "d/a/c", 1).is_err());
        assert!(check(&upload, "d/a/b", 1_700_000_001).unwrap_err().contains("expired"));
        for other in [
            Upload { device: "e".into(), ..upload.clone() },
            Upload { generation: "8".into(), ..upload.clone() },
            Upload { id: "c2".into(), ..upload.clone() },
            Upload { expires: 1_800_000_000, ..upload.clone() },
        ] {
            assert!(check(&other, &other.path(), 1).unwrap_err().contains("another key"));
        }
        assert!(upload.check("d/a/b", "", &key, 1).is_err());
    }
}
