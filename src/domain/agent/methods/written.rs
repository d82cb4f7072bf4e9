//! Lines in the form in which they were asked for: text or JSON, as they are or compressed.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::line::Line;
use super::logs::Last;

/// Whose lines.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Host name of the hub.
    pub hub: &'a str,
    /// Device.
    pub device: &'a str,
    /// Module.
    pub module: &'a str,
}

/// In which form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// Compressed.
    pub is_gzip: bool,
    /// An array of objects, not lines.
    pub is_json: bool,
    /// The engine's time stands before each line of text.
    pub is_stamped: bool,
}

enum Out {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
}

/// Writes line after line; what is ready may be taken before the end.
pub struct Written {
    form: Form,
    out: Out,
    is_empty: bool,
}

impl Written {
    /// Nothing yet.
    pub fn new(form: Form) -> Self {
        let out = match form.is_gzip {
            true => Out::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            false => Out::Plain(Vec::new()),
        };
        Written { form, out, is_empty: true }
    }

    /// One more line.
    pub fn line(&mut self, source: &Source<'_>, line: &Line) -> io::Result<()> {
        let begin = match (self.form.is_json, std::mem::take(&mut self.is_empty)) {
            (true, true) => "[",
            (true, false) => ",",
            (false, _) => "",
        };
        let text = match self.form.is_json {
            true => format!("{begin}{}", object(source, line)),
            false => match &line.stamp {
                Some(stamp) if self.form.is_stamped => format!("{stamp} {}\n", line.raw),
                _ => format!("{}\n", line.raw),
            },
        };
        self.put(text.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(out) => out.write_all(bytes),
            Out::Gzip(out) => out.write_all(bytes),
        }
    }

    /// How many bytes may be taken.
    pub fn ready(&self) -> usize {
        match &self.out {
            Out::Plain(out) => out.len(),
            Out::Gzip(out) => out.get_ref().len(),
        }
    }

    /// What is ready.
    pub fn take(&mut self) -> Vec<u8> {
        match &mut self.out {
            Out::Plain(out) => std::mem::take(out),
            Out::Gzip(out) => std::mem::take(out.get_mut()),
        }
    }

    /// The rest.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        match (self.form.is_json, self.is_empty) {
            (true, true) => self.put(b"[]")?,
            (true, false) => self.put(b"]")?,
            (false, _) => {}
        }
        match self.out {
            Out::Plain(out) => Ok(out),
            Out::Gzip(out) => out.finish(),
        }
    }
}

fn object(source: &Source<'_>, line: &Line) -> Value {
    json!({
        "iothub": source.hub,
        "device": source.device,
        "id": source.module,
        "stream": if line.is_error { "stderr" } else { "stdout" },
        "loglevel": line.said.level,
        "text": line.said.text,
        "timestamp": line.said.time.as_ref().or(line.stamp.as_ref()),
    })
}

/// The element of an answer for one module, of `room` bytes at most: the newest lines that fit,
/// and, before them, a word on those that do not.
pub fn answer(source: &Source<'_>, form: Form, last: &mut Last, room: usize) -> io::Result<Value> {
    loop {
        let payload = whole(source, form, last)?;
        let element = match form.is_gzip {
            true => json!({ "id": source.module, "payloadBytes": STANDARD.encode(payload),
                            "payload": null }),
            false => json!({ "id": source.module, "payloadBytes": null,
                             "payload": String::from_utf8_lossy(&payload) }),
        };
        let size = element.to_string().len();
        let lines = last.lines().len();
        if size <= room || lines == 0 {
            return Ok(element);
        }
        // As many as are in proportion too many, and a few.
        let keep = (lines as u128 * room as u128 * 9 / (size as u128 * 10)) as usize;
        last.leave_out(lines - keep.min(lines - 1));
    }
}

fn whole(source: &Source<'_>, form: Form, last: &Last) -> io::Result<Vec<u8>> {
    let mut written = Written::new(form);
    if last.left_out() > 0 {
        let text = format!(
            "({} older lines are left out: an answer has room for no more; ask for fewer, or for \
             UploadModuleLogs)",
            last.left_out()
        );
        written.line(source, &notice(text))?;
    }
    for line in last.lines() {
        written.line(source, line)?;
    }
    written.finish()
}

/// A line of ours among those of a module.
pub fn notice(text: String) -> Line {
    let mut said = super::line::Said::parse(&text);
    said.level = 4;
    Line { is_error: true, stamp: None, raw: text, said }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::domain::agent::methods::line::Said;

    const SOURCE: Source<'static> = Source { hub: "hub", device: "gw", module: "m" };

    fn line(text: &str) -> Line {
        let stamp = Some("2026-01-01T00:00:00Z".to_owned());
        Line { is_error: false, stamp, raw: text.into(), said: Said::parse(text) }
    }

    fn last(lines: impl IntoIterator<Item = String>) -> Last {
        let mut last = Last::new(None, usize::MAX);
        lines.into_iter().for_each(|text| last.push(line(&text)));
        last
    }

    fn unpacked(element: &Value) -> String {
        let bytes = STANDARD.decode(element["payloadBytes"].as_str().unwrap()).unwrap();
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn lines_are_written_as_text_or_json_plain_or_compressed() {
        let mut lines = last(["<4> one".to_owned(), "two".to_owned()]);
        let mut get = |is_gzip, is_json, is_stamped| {
            let form = Form { is_gzip, is_json, is_stamped };
            answer(&SOURCE, form, &mut lines, 10_000).unwrap()
        };
        let text = get(false, false, false);
        assert_eq!(text, json!({ "id": "m", "payloadBytes": null, "payload": "<4> one\ntwo\n" }));
        assert_eq!(unpacked(&get(true, false, false)), "<4> one\ntwo\n");
        assert_eq!(get(true, false, false)["payload"], Value::Null);
        let stamped = "2026-01-01T00:00:00Z <4> one\n2026-01-01T00:00:00Z two\n";
        assert_eq!(get(false, false, true)["payload"], stamped);
        let array = get(false, true, false);
        let array: Value = serde_json::from_str(array["payload"].as_str().unwrap()).unwrap();
        assert_eq!(
            array[0],
            json!({ "iothub": "hub", "device": "gw", "id": "m", "loglevel": 4,
            "stream": "stdout", "text": "one", "timestamp": "2026-01-01T00:00:00Z" })
        );
        assert_eq!((array[1]["loglevel"].clone(), array.as_array().unwrap().len()), (json!(6), 2));
        let none = answer(&SOURCE, Form { is_json: true, ..Form::default() }, &mut last([]), 99);
        assert_eq!(none.unwrap()["payload"], "[]");
    }

    #[test]
    fn what_does_not_fit_is_left_out_with_a_word_and_the_newest_stays() {
        for (is_gzip, is_json) in [(false, false), (false, true), (true, false), (true, true)] {
            let text = |n: u64| format!("\"{n}\" {:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut lines = last((0..3000).map(text));
            let form = Form { is_gzip, is_json, is_stamped: false };
            let element = answer(&SOURCE, form, &mut lines, 20_000).unwrap();
            let size = element.to_string().len();
            assert!((10_000..=20_000).contains(&size), "{size}");
            let payload = match is_gzip {
                true => unpacked(&element),
                false => element["payload"].as_str().unwrap().to_owned(),
            };
            let escaped = if is_json { r#"\"2999\""# } else { "\"2999\"" };
            assert!(payload.contains(escaped), "the last line is there");
            let word = format!("({} older lines are left out", lines.left_out());
            assert!(lines.left_out() > 0 && payload.contains(&word), "{word}");
            assert_eq!(lines.left_out() as usize + lines.lines().len(), 3000);
        }
    }

    #[test]
    fn what_is_ready_may_be_taken_on_the_way() {
        let mut written = Written::new(Form { is_gzip: true, is_json: true, is_stamped: false });
        let mut all = Vec::new();
        for n in 0..20_000 {
            written.line(&SOURCE, &line(&format!("{n} {n:x}"))).unwrap();
            if written.ready() > 1000 {
                all.extend(written.take());
            }
        }
        assert!(!all.is_empty());
        all.extend(written.finish().unwrap());
        let array: Vec<Value> = serde_json::from_reader(GzDecoder::new(all.as_slice())).unwrap();
        assert_eq!((array.len(), array[19_999]["text"].as_str()), (20_000, Some("19999 4e1f")));
    }
}
