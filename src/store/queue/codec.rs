//! Numbers and texts in the payload of a record: big-endian, texts with their length before them.

use crate::store::value::Damage;

/// Takes a payload apart, piece by piece.
pub(super) struct Reader<'p>(pub(super) &'p [u8]);

impl<'p> Reader<'p> {
    fn take(&mut self, count: usize) -> Result<&'p [u8], Damage> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Damage::Payload)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.take(N)?.try_into().map_err(|_| Damage::Payload)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Damage> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, Damage> {
        self.array().map(u128::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'p str, Damage> {
        let length = self.u32()? as usize;
        str::from_utf8(self.take(length)?).map_err(|_| Damage::Payload)
    }

    /// Nothing must be left.
    pub(super) fn end<T>(self, value: T) -> Result<T, Damage> {
        if self.0.is_empty() { Ok(value) } else { Err(Damage::Payload) }
    }
}

/// Puts a payload together.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn u128(mut self, value: u128) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn text(self, value: &str) -> Self {
        let length = u32::try_from(value.len()).expect("texts are shorter than a message");
        let mut writer = self.u32(length);
        writer.0.extend(value.as_bytes());
        writer
    }
}
