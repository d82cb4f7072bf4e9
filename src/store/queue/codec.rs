//! Numbers and texts in the payload of a record: big-endian, texts with their length before them.
//! Short numbers take as few bytes as they need: seven bits in each, the lowest first.

use crate::store::value::Damage;

/// Takes a payload apart, piece by piece.
pub(super) struct Reader<'p>(pub(super) &'p [u8]);

impl<'p> Reader<'p> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'p [u8], Damage> {
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

    pub(super) fn short(&mut self) -> Result<u64, Damage> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7F);
            if part << shift >> shift != part {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damage::Payload)
    }

    /// The text that all that is left is.
    pub(super) fn rest(&mut self) -> Result<&'p str, Damage> {
        let rest = std::mem::take(&mut self.0);
        str::from_utf8(rest).map_err(|_| Damage::Payload)
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

    pub(super) fn short(mut self, mut value: u64) -> Self {
        while value > 0x7F {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// A text that stands last.
    pub(super) fn rest(mut self, value: &str) -> Self {
        self.0.extend(value.as_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_number_is_read_as_it_was_written(bits in 0..=64_u32, number: u64) {
            let number = number.checked_shr(64 - bits).unwrap_or_default();
            let written = Writer::default().short(number).0;
            prop_assert!(written.len() <= 10 && (number > 0x7F || written.len() == 1));
            let mut from = Reader(&written);
            prop_assert_eq!(from.short(), Ok(number));
            prop_assert!(from.0.is_empty());
        }
    }

    #[test]
    fn a_number_that_is_too_long_is_damage() {
        assert_eq!(Reader(&[0xFF; 11]).short(), Err(Damage::Payload));
        assert_eq!(Reader(&[0x80, 0x80]).short(), Err(Damage::Payload));
        let above = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02];
        assert_eq!(Reader(&above).short(), Err(Damage::Payload));
    }
}
