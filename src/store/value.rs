//! The frame around every value: its type, a hash of the key it belongs to, and a checksum.
//!
//! ```text
//!  type: u8 │ key hash: u32 │ CRC32C of type, key hash and payload: u32 │ payload
//! ```
//!
//! LMDB notices few of the bits that flip (measured), and none of the values that stand under a
//! wrong key. All numbers are big-endian. next: `table.rs`.

/// Bytes that a frame adds to its payload.
pub const FRAME: usize = 9;

/// Why a value cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It has less than a frame.
    #[error("value is shorter than its frame")]
    Short,
    /// The checksum is of something else.
    #[error("checksum does not match")]
    Checksum,
    /// Sound, but it belongs to another key or table.
    #[error("value belongs to another key")]
    Key,
    /// Sound, but not of the type that was looked for.
    #[error("value is of type {0}")]
    Type(u8),
    /// The frame is sound, what is in it makes no sense.
    #[error("payload does not decode")]
    Payload,
}

/// Says which table and key a value belongs to.
fn key_hash(table: &str, key: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(table.as_bytes()), key)
}

/// The frame of a payload that is given in parts.
pub fn seal(kind: u8, table: &str, key: &[u8], parts: &[&[u8]]) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[0] = kind;
    frame[1..5].copy_from_slice(&key_hash(table, key).to_be_bytes());
    let head = crc32c::crc32c(&frame[..5]);
    let crc = parts.iter().fold(head, |crc, part| crc32c::crc32c_append(crc, part));
    frame[5..].copy_from_slice(&crc.to_be_bytes());
    frame
}

/// The payload, if all of it is as it was written.
pub fn open<'v>(kind: u8, table: &str, key: &[u8], value: &'v [u8]) -> Result<&'v [u8], Damage> {
    let (frame, payload) = value.split_at_checked(FRAME).ok_or(Damage::Short)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..5]), payload);
    if frame[5..] != crc.to_be_bytes() {
        Err(Damage::Checksum)
    } else if frame[1..5] != key_hash(table, key).to_be_bytes() {
        Err(Damage::Key)
    } else if frame[0] != kind {
        Err(Damage::Type(frame[0]))
    } else {
        Ok(payload)
    }
}

/// Whether all of it is as it was written under this key, whatever its type.
pub fn is_whole(table: &str, key: &[u8], value: &[u8]) -> bool {
    value.first().is_some_and(|kind| open(*kind, table, key, value).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(kind: u8, table: &str, key: &[u8], payload: &[u8]) -> Vec<u8> {
        let (one, two) = payload.split_at(payload.len() / 2);
        [&seal(kind, table, key, &[one, two])[..], payload].concat()
    }

    #[test]
    fn a_value_is_believed_only_under_its_own_key_table_and_type() {
        let value = sealed(3, "rows", b"key", b"payload");
        assert_eq!(open(3, "rows", b"key", &value), Ok(&b"payload"[..]));
        assert_eq!(open(3, "rows", b"kez", &value), Err(Damage::Key));
        assert_eq!(open(3, "meta", b"key", &value), Err(Damage::Key));
        assert_eq!(open(4, "rows", b"key", &value), Err(Damage::Type(3)));
        assert_eq!(open(3, "rows", b"key", &value[..FRAME - 1]), Err(Damage::Short));
    }

    proptest! {
        #[test]
        fn one_flipped_bit_anywhere_is_noticed(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut value = sealed(1, "t", b"k", &payload);
            prop_assert_eq!(open(1, "t", b"k", &value), Ok(&payload[..]));
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            prop_assert!(open(1, "t", b"k", &value).is_err());
        }
    }
}
