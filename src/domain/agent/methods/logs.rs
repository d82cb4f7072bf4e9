//! Which lines of which modules are asked for (spec edgeagent.md 6).

use std::collections::VecDeque;
use std::time::Duration;

use regex_lite::{Regex, RegexBuilder};
use serde_json::Value;

use super::line::{Line, at};
use super::{Refused, flag, text, time};
use crate::domain::agent::fields::{Object, some_field};

/// Of an expression: compiled it may be larger than its text.
const LARGEST_REGEX: usize = 256 * 1024;
const MOST_ITEMS: usize = 100;

/// What is asked for, and in which form.
#[derive(Clone, Debug)]
pub struct LogsAsked {
    /// In order: of those that name a module the first counts.
    pub items: Vec<Item>,
    /// Compressed.
    pub is_gzip: bool,
    /// An array of objects, not lines.
    pub is_json: bool,
}

/// Modules, and which of their lines.
#[derive(Clone, Debug)]
pub struct Item {
    /// None: all.
    id: Option<Regex>,
    /// Which lines.
    pub filter: Filter,
}

/// Which lines of a module.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The last so many of those that pass.
    pub tail: Option<usize>,
    /// Unix time.
    pub since: Option<Duration>,
    /// Unix time.
    pub until: Option<Duration>,
    /// This level, and what is worse.
    pub level: Option<u8>,
    /// In the text.
    pub regex: Option<Regex>,
    /// The engine's time stands before each line of text.
    pub is_stamped: bool,
}

impl LogsAsked {
    pub(super) fn parse(payload: &Object, now: Duration) -> Result<Self, Refused> {
        let items = match some_field(payload, "items") {
            Some(Value::Array(items)) => items.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err(Refused::bad("items is an object with an id, or an array of them")),
        };
        if items.len() > MOST_ITEMS {
            return Err(Refused::bad(format!("items has {MOST_ITEMS} elements at most")));
        }
        let items: Result<_, _> = items.into_iter().map(|item| Item::parse(item, now)).collect();
        Ok(LogsAsked {
            items: items?,
            is_gzip: word(payload, "encoding", ["none", "gzip"])?,
            is_json: word(payload, "contentType", ["text", "json"])?,
        })
    }

    /// The modules that are named, in their order, each with which of its lines.
    pub fn of<'a>(&self, modules: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, &Filter)> {
        let item = |module: &str| self.items.iter().find(|item| item.names(module));
        let named = modules.into_iter().filter_map(|it| Some((it, &item(it)?.filter)));
        named.collect()
    }
}

/// Whether the second word stands there; the first is meant if none does.
fn word(payload: &Object, name: &str, words: [&str; 2]) -> Result<bool, Refused> {
    let given = match some_field(payload, name) {
        None => return Ok(false),
        Some(given) => given.as_str().unwrap_or_default(),
    };
    let found = words.iter().position(|word| word.eq_ignore_ascii_case(given));
    found
        .map(|n| n == 1)
        .ok_or_else(|| Refused::bad(format!("{name} is `{}` or `{}`", words[0], words[1])))
}

impl Item {
    fn parse(item: &Value, now: Duration) -> Result<Self, Refused> {
        let object = item.as_object();
        let object = object.ok_or_else(|| Refused::bad("an element of items is not an object"))?;
        let id = text(object, "id")?;
        let is_all = id.eq_ignore_ascii_case("all");
        let id = (!is_all).then(|| regex(&id, true)).transpose();
        let filter = match some_field(object, "filter") {
            None => Filter::default(),
            Some(Value::Object(filter)) => Filter::parse(filter, now)?,
            Some(_) => return Err(Refused::bad("filter is not an object")),
        };
        Ok(Item { id: id.map_err(|why| Refused::bad(format!("id: {why}")))?, filter })
    }

    /// Whether it names this module.
    pub fn names(&self, module: &str) -> bool {
        self.id.as_ref().is_none_or(|id| id.is_match(module))
    }
}

/// Runs in time that is linear in what it is given, whatever it is.
fn regex(text: &str, is_any_case: bool) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(text);
    builder.case_insensitive(is_any_case).size_limit(LARGEST_REGEX);
    builder.build().map_err(|e| format!("`{text}` is not a regular expression: {e}"))
}

impl Filter {
    fn parse(filter: &Object, now: Duration) -> Result<Self, Refused> {
        let number = |name: &str, most: u64| match some_field(filter, name) {
            None => Ok(None),
            Some(value) => {
                let number = match value {
                    Value::String(text) => text.trim().parse().ok(),
                    other => other.as_u64(),
                };
                let number = number.filter(|it| *it <= most);
                number
                    .map(Some)
                    .ok_or_else(|| Refused::bad(format!("{name} is a number from 0 to {most}")))
            }
        };
        let expression = match some_field(filter, "regex") {
            None => None,
            Some(_) => {
                let expression = regex(&text(filter, "regex")?, false);
                Some(expression.map_err(|why| Refused::bad(format!("regex: {why}")))?)
            }
        };
        Ok(Filter {
            tail: number("tail", i32::MAX as u64)?.map(|tail| tail as usize),
            since: time(filter, "since", now)?,
            until: time(filter, "until", now)?,
            level: number("loglevel", 7)?.map(|level| level as u8),
            regex: expression,
            is_stamped: flag(filter, "includeTimestamp")?,
        })
    }

    /// Whether the line is wanted, but for the tail.
    pub fn takes(&self, line: &Line) -> bool {
        let at = line.stamp.as_deref().and_then(at);
        self.level.is_none_or(|level| line.said.level <= level)
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(&line.said.text))
            && at.is_none_or(|at| self.since.is_none_or(|since| at >= since))
            && at.is_none_or(|at| self.until.is_none_or(|until| at <= until))
    }

    /// Whether the engine can be asked for the tail.
    pub fn is_tail_enough(&self) -> bool {
        self.level.is_none() && self.regex.is_none() && self.until.is_none()
    }
}

/// The last lines: as many as are wanted, and no more bytes than there is room for.
#[derive(Debug)]
pub struct Last {
    lines: VecDeque<Line>,
    tail: usize,
    room: usize,
    bytes: usize,
    left_out: u64,
}

impl Last {
    /// Holds `tail` lines and `room` bytes of them at most.
    pub fn new(tail: Option<usize>, room: usize) -> Self {
        let tail = tail.unwrap_or(usize::MAX);
        Last { lines: VecDeque::new(), tail, room, bytes: 0, left_out: 0 }
    }

    /// One more.
    pub fn push(&mut self, line: Line) {
        self.bytes += line.raw.len() + 1;
        self.lines.push_back(line);
        while self.lines.len() > self.tail {
            self.drop_first();
        }
        while self.bytes > self.room && self.lines.len() > 1 {
            self.drop_first();
            self.left_out += 1;
        }
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.lines.pop_front() {
            self.bytes -= first.raw.len() + 1;
        }
    }

    /// Leaves so many of the oldest out, for want of room.
    pub fn leave_out(&mut self, number: usize) {
        for _ in 0..number.min(self.lines.len()) {
            self.drop_first();
            self.left_out += 1;
        }
    }

    /// Left out for want of room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Oldest first.
    pub fn lines(&self) -> &VecDeque<Line> {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::agent::methods::line::Said;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn asked(payload: Value) -> Result<LogsAsked, Refused> {
        LogsAsked::parse(payload.as_object().unwrap(), NOW)
    }

    fn line(level: u8, text: &str) -> Line {
        let said = Said { level, time: None, text: text.into() };
        Line { raw: text.into(), said, ..Line::default() }
    }

    #[test]
    fn the_first_item_that_names_a_module_counts() {
        let all = ["edgeAgent", "edgeHub", "module1", "eModule2"];
        let of = |items: Value| {
            let asked = asked(json!({ "items": items })).unwrap();
            let named = asked.of(all);
            named.iter().map(|(name, it)| (name.to_string(), it.tail)).collect::<Vec<_>>()
        };
        let one = |name: &str, tail| (name.to_owned(), tail);
        let items = json!([{ "id": "^e.*", "filter": { "tail": 1 } }, { "id": "mod" }]);
        let first = ["edgeAgent", "edgeHub"].map(|name| one(name, Some(1)));
        let rest = [one("module1", None), one("eModule2", Some(1))];
        assert_eq!(of(items), [first.as_slice(), &rest].concat());
        assert_eq!(of(json!({ "id": "ALL" })).len(), 4);
        assert_eq!(of(json!({ "id": "EDGE" })).len(), 2, "in any case, anywhere");
        assert_eq!(of(json!([])), []);
    }

    #[test]
    fn a_level_takes_what_is_worse_too_and_an_expression_looks_into_the_text() {
        let lines = [
            line(6, "important"),
            line(7, "debug"),
            line(4, "something bad"),
            line(3, "really bad"),
        ];
        let kept = |filter: Value| {
            let asked = asked(json!({ "items": { "id": "all", "filter": filter } })).unwrap();
            let filter = asked.items[0].filter.clone();
            (0..4).filter(|n| filter.takes(&lines[*n])).collect::<Vec<_>>()
        };
        assert_eq!(kept(json!({ "loglevel": 4 })), [2, 3]);
        assert_eq!(kept(json!({ "loglevel": "6" })), [0, 2, 3]);
        assert_eq!(kept(json!({ "loglevel": 3, "regex": "bad" })), [3]);
        assert_eq!(kept(json!({ "regex": "^(some|imp)" })), [0, 2]);
        let stamped = |stamp: &str| Line { stamp: Some(stamp.into()), ..Line::default() };
        let between = Filter { since: Some(NOW), until: Some(NOW), ..Filter::default() };
        assert!(between.takes(&stamped("2023-11-14T22:13:20Z")));
        assert!(!between.takes(&stamped("2023-11-14T22:13:19Z")));
        assert!(!between.takes(&stamped("2023-11-14T22:13:21Z")));
    }

    #[test]
    fn an_expression_runs_in_linear_time_whatever_it_is() {
        let items = json!({ "id": "(x+x+)+y", "filter": { "regex": "^(a|a?)+$" } });
        let asked = asked(json!({ "items": items })).unwrap();
        let long = format!("{}!", "a".repeat(5_000));
        // One that goes back and tries anew would not be done in a life.
        assert!(!asked.items[0].filter.takes(&line(6, &long)));
        assert!(!asked.items[0].names(&"x".repeat(5_000)));
    }

    #[test]
    fn defaults_are_those_of_the_documents_and_what_is_wrong_is_named() {
        let plain = asked(json!({ "items": { "id": "all" }, "encoding": null })).unwrap();
        assert_eq!((plain.is_gzip, plain.is_json), (false, false));
        let both = json!({ "items": [], "encoding": "GZip", "contentType": "json" });
        let both = asked(both).unwrap();
        assert_eq!((both.is_gzip, both.is_json), (true, true));
        let item = |item: Value| json!({ "items": item });
        for (wrong, named) in [
            (json!({}), "items"),
            (item(json!("all")), "items"),
            (item(json!([{ "id": "all" }, 7])), "items"),
            (item(json!({ "filter": {} })), "id is missing"),
            (item(json!({ "id": "(" })), "id: `(`"),
            (item(json!({ "id": "x", "filter": { "tail": -1 } })), "tail"),
            (item(json!({ "id": "x", "filter": { "loglevel": 8 } })), "loglevel"),
            (item(json!({ "id": "x", "filter": { "regex": "[" } })), "regex"),
            (item(json!({ "id": "x", "filter": { "since": "soon" } })), "since"),
            (item(json!({ "id": "x", "filter": { "regex": "(\\w{1000}){1000}" } })), "regex"),
            (json!({ "items": [], "encoding": "zip" }), "encoding"),
        ] {
            let refused = asked(wrong).unwrap_err();
            assert!(refused.status == 400 && refused.message.contains(named), "{refused:?}");
        }
    }

    #[test]
    fn the_last_lines_are_kept_and_what_has_no_room_is_counted() {
        let mut last = Last::new(Some(3), 1000);
        (0..5).for_each(|n| last.push(line(6, &n.to_string())));
        let texts = |last: &Last| last.lines().iter().map(|it| it.raw.clone()).collect::<Vec<_>>();
        assert_eq!((texts(&last), last.left_out()), (vec!["2".into(), "3".into(), "4".into()], 0));
        let mut last = Last::new(None, 10);
        (0..5).for_each(|n| last.push(line(6, &format!("line{n}"))));
        assert_eq!((texts(&last), last.left_out()), (vec!["line4".into()], 4));
        last.leave_out(7);
        assert_eq!((texts(&last), last.left_out()), (vec![], 5));
    }
}
