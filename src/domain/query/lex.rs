//! Tokens of a query, each with the place where it begins.

use serde_json::Value;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A keyword, or a name in a path.
    Word,
    /// `[[a name of any characters]]`.
    Name(String),
    /// A number, or a text in quotes.
    Literal(Value),
    /// Everything else.
    Sign,
    /// After the last one.
    End,
}

/// A token, where it begins (in bytes), and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) text: &'a str,
}

/// All tokens, with `End` as the last; or where it fails, and why.
pub(super) fn tokens(query: &str) -> Result<Vec<Token<'_>>, (usize, &'static str)> {
    let mut all: Vec<Token<'_>> = Vec::new();
    let mut at = 0;
    loop {
        at += query[at..].len() - query[at..].trim_start().len();
        let rest = &query[at..];
        // Behind a dot there is a name, also if it looks like a number.
        let is_in_path = all.last().is_some_and(|last| last.text == ".");
        let (kind, length) = token(rest, is_in_path).map_err(|why| (at, why))?;
        let is_end = kind == Kind::End;
        all.push(Token { kind, at, text: &rest[..length] });
        at += length;
        if is_end {
            return Ok(all);
        }
    }
}

fn token(rest: &str, is_in_path: bool) -> Result<(Kind, usize), &'static str> {
    let Some(first) = rest.chars().next() else { return Ok((Kind::End, 0)) };
    if let Some(inner) = rest.strip_prefix("[[") {
        let end = inner.find("]]").filter(|end| *end > 0);
        let end = end.ok_or("a name in [[ ]] is not closed")?;
        return Ok((Kind::Name(inner[..end].to_owned()), end + 4));
    }
    if first == '\'' || first == '"' {
        let (text, length) = quoted(rest, first).ok_or("this text is not closed")?;
        return Ok((Kind::Literal(Value::String(text)), length));
    }
    let number = if is_in_path { None } else { number(rest) };
    if let Some((number, length)) = number {
        return Ok((Kind::Literal(number), length));
    }
    let word = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
    if word > 0 {
        return Ok((Kind::Word, word));
    }
    let double = ["<=", ">=", "<>", "!="].iter().any(|sign| rest.starts_with(sign));
    if double {
        return Ok((Kind::Sign, 2));
    }
    if "()[],.*=<>;".contains(first) {
        return Ok((Kind::Sign, 1));
    }
    Err("this character has no meaning in a query")
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '-')
}

/// As JSON writes it, and not the beginning of a name.
fn number(rest: &str) -> Option<(Value, usize)> {
    let digits = rest.strip_prefix('-').unwrap_or(rest);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
    let is_name = rest[length..].starts_with(is_of_name);
    let number = serde_json::from_str(&rest[..length]).ok().filter(|_| !is_name)?;
    Some((number, length))
}

/// Up to the closing quote; a doubled quote stands for itself.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let (mut text, mut length) = (String::new(), 1);
    loop {
        let end = length + rest[length..].find(quote)?;
        text.push_str(&rest[length..end]);
        length = end + 1;
        if !rest[length..].starts_with(quote) {
            return Some((text, length));
        }
        text.push(quote);
        length += 1;
    }
}
