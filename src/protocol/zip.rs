//! Writes a zip file as it goes (APPNOTE 4.3): no seeking, nothing is held but what was not taken
//! yet. Sizes stand behind each entry, so they need not be known before it.
//!
//! No entry, and no file, is larger than 4 GiB: whoever writes keeps to less.

use std::io::{self, Write};
use std::time::Duration;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use time::OffsetDateTime;

/// A file takes no more entries once it is this large.
pub const FULL: u64 = 3 << 30;

const VERSION: u16 = 20;
/// Sizes follow the data; names are UTF-8.
const FLAGS: u16 = (1 << 3) | (1 << 11);
const DEFLATED: u16 = 8;
/// A regular file that its owner reads and writes, as Unix has it.
const MODE: u32 = 0o100_600 << 16;

struct Entry {
    name: String,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
}

/// See the module documentation.
pub struct Zip {
    out: Vec<u8>,
    written: u64,
    date: [u8; 4],
    entries: Vec<Entry>,
    open: Option<(DeflateEncoder<Vec<u8>>, Crc)>,
}

impl Zip {
    /// An empty one; its entries are all of this time.
    pub fn new(unix_time: Duration) -> Self {
        let date = dos_date(unix_time);
        Zip { out: Vec::new(), written: 0, date, entries: Vec::new(), open: None }
    }

    /// Begins an entry, and ends the one before.
    pub fn begin(&mut self, name: &str) -> io::Result<()> {
        self.end()?;
        let entry =
            Entry { name: name.into(), crc: 0, packed: 0, size: 0, offset: self.position() };
        let mut head = Vec::new();
        head.extend(0x0403_4b50_u32.to_le_bytes());
        head.extend(VERSION.to_le_bytes());
        head.extend(FLAGS.to_le_bytes());
        head.extend(DEFLATED.to_le_bytes());
        head.extend(self.date);
        head.extend([0; 12]); // checksum and sizes: see behind the data
        head.extend((name.len() as u16).to_le_bytes());
        head.extend([0; 2]);
        head.extend(name.as_bytes());
        self.out.extend(head);
        self.entries.push(entry);
        let encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        self.open = Some((encoder, Crc::new()));
        Ok(())
    }

    /// More of the entry that was begun.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((encoder, crc)) = &mut self.open else { return Ok(()) };
        crc.update(bytes);
        encoder.write_all(bytes)?;
        let packed = std::mem::take(encoder.get_mut());
        self.put_packed(&packed);
        if let Some(entry) = self.entries.last_mut() {
            entry.size += bytes.len() as u64;
        }
        Ok(())
    }

    /// A whole entry.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name)?;
        self.write(bytes)?;
        self.end()
    }

    fn put_packed(&mut self, packed: &[u8]) {
        self.out.extend(packed);
        if let Some(entry) = self.entries.last_mut() {
            entry.packed += packed.len() as u64;
        }
    }

    fn end(&mut self) -> io::Result<()> {
        let Some((encoder, crc)) = self.open.take() else { return Ok(()) };
        let rest = encoder.finish()?;
        self.put_packed(&rest);
        if let Some(entry) = self.entries.last_mut() {
            entry.crc = crc.sum();
            self.out.extend(0x0807_4b50_u32.to_le_bytes());
            self.out.extend(sizes(entry));
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn position(&self) -> u64 {
        self.written + self.out.len() as u64
    }

    /// What was written and not taken yet.
    pub fn take(&mut self) -> Vec<u8> {
        self.written += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// The rest: what lists the entries.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        self.end()?;
        let begin = self.position();
        for entry in &self.entries {
            self.out.extend(0x0201_4b50_u32.to_le_bytes());
            self.out.extend(((3 << 8) | VERSION).to_le_bytes()); // made on Unix
            self.out.extend(VERSION.to_le_bytes());
            self.out.extend(FLAGS.to_le_bytes());
            self.out.extend(DEFLATED.to_le_bytes());
            self.out.extend(self.date);
            self.out.extend(sizes(entry));
            self.out.extend((entry.name.len() as u16).to_le_bytes());
            self.out.extend([0; 8]); // no extra field, no comment, disk 0, no attributes
            self.out.extend(MODE.to_le_bytes());
            self.out.extend((entry.offset as u32).to_le_bytes());
            self.out.extend(entry.name.as_bytes());
        }
        let size = self.position() - begin;
        let number = (self.entries.len() as u16).to_le_bytes();
        self.out.extend(0x0605_4b50_u32.to_le_bytes());
        self.out.extend([0; 4]);
        self.out.extend(number);
        self.out.extend(number);
        self.out.extend((size as u32).to_le_bytes());
        self.out.extend((begin as u32).to_le_bytes());
        self.out.extend([0; 2]);
        Ok(self.out)
    }
}

/// Checksum, size packed, size.
fn sizes(entry: &Entry) -> Vec<u8> {
    [entry.crc, entry.packed as u32, entry.size as u32]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect()
}

/// Time and date as MS-DOS has them, from 1980 on.
fn dos_date(unix_time: Duration) -> [u8; 4] {
    let seconds = i64::try_from(unix_time.as_secs()).unwrap_or_default();
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let year = u16::try_from(at.year().clamp(1980, 2107) - 1980).unwrap_or_default();
    let (hour, minute) = (u16::from(at.hour()), u16::from(at.minute()));
    let time = (hour << 11) | (minute << 5) | (u16::from(at.second()) / 2);
    let date = (year << 9) | (u16::from(u8::from(at.month())) << 5) | u16::from(at.day());
    let ([a, b], [c, d]) = (time.to_le_bytes(), date.to_le_bytes());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn another_program_reads_what_is_written() {
        let mut zip = Zip::new(Duration::from_secs(1_700_000_000));
        let mut file = Vec::new();
        zip.add("empty.txt", b"").unwrap();
        zip.begin("logs/ä.txt").unwrap();
        for n in 0..10_000 {
            zip.write(format!("line {n}\n").as_bytes()).unwrap();
            file.extend(zip.take());
        }
        zip.add("last.json", b"{}").unwrap();
        file.extend(zip.finish().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        std::fs::write(&path, &file).unwrap();
        let look = "import sys, zipfile\n\
            z = zipfile.ZipFile(sys.argv[1])\n\
            assert z.testzip() is None\n\
            print([(i.filename, i.file_size, i.date_time[:3]) for i in z.infolist()])\n\
            print(z.read('logs/ä.txt')[-10:])";
        let output = Command::new("python3").args(["-c", look]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let day = "(2023, 11, 14)";
        let expected = format!(
            "[('empty.txt', 0, {day}), ('logs/ä.txt', 98890, {day}), ('last.json', 2, {day})]\n\
             b'line 9999\\n'\n"
        );
        assert_eq!(said, expected);
    }
}
