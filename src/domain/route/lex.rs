//! Tokens of a route. The longest match wins (edgehub.md 2.1), so operators need spaces: `a-b` is
//! one name.
//!
//! next: `parse.rs`

use std::ops::Range;

use winnow::Parser;
use winnow::ascii::digit1;
use winnow::combinator::{alt, delimited, opt, preceded, repeat};
use winnow::token::{any, one_of, take_until, take_while};

use super::error::Fault;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word,
    /// `$name`
    System,
    /// A string literal, unescaped.
    Text(String),
    /// INT, HEX or REAL.
    Number(f64),
    /// Everything else.
    Sign,
    /// After the last one.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) at: Range<usize>,
}

impl Token<'_> {
    pub(super) fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }
}

type Input<'a> = &'a str;
type Error = winnow::error::ContextError;

fn is_name(c: char) -> bool {
    !"()<>@,;:\\\"/[]?={} \t\r\n".contains(c)
}

/// White space and comments; `/*` without `*/` behind it is no comment.
fn gap(input: &mut Input<'_>) -> winnow::Result<()> {
    let blank = take_while(1.., (' ', '\t', '\r', '\n')).void();
    let comment = ("/*", take_until(0.., "*/"), "*/").void();
    repeat(0.., alt((blank, comment))).parse_next(input)
}

fn text(input: &mut Input<'_>) -> winnow::Result<String> {
    fn within<'a>(quote: char) -> impl Parser<Input<'a>, String, Error> {
        let hex = take_while(4..=4, |c: char| c.is_ascii_hexdigit());
        let unit = preceded("\\u", hex.verify_map(|hex| u16::from_str_radix(hex, 16).ok()));
        // Two where UTF-16 needs two for one character.
        let code =
            repeat::<_, _, Vec<u16>, _, _>(1.., unit).verify_map(|u| String::from_utf16(&u).ok());
        let sign = preceded('\\', one_of(['"', '\'', '\\'])).map(String::from);
        let plain = take_while(1.., move |c| c != quote && c != '\\').map(str::to_owned);
        let chars = repeat(0.., alt((plain, sign, code)))
            .fold(String::new, |text, part: String| text + &part);
        delimited(quote, chars, quote)
    }
    alt((within('"'), within('\''))).parse_next(input)
}

fn number(input: &mut Input<'_>) -> winnow::Result<f64> {
    let exponent = || (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1).void();
    let digits = take_while(1..=16, |c: char| c.is_ascii_hexdigit());
    let hex = preceded(alt(("0x", "0X")), digits)
        .verify_map(|digits| u64::from_str_radix(digits, 16).ok())
        .map(|whole| whole as f64);
    let real = (opt('-'), opt(digit1), '.', digit1, opt(exponent())).void();
    let power = (opt('-'), digit1, exponent()).void();
    let int = (opt('-'), digit1).void();
    alt((hex, alt((real, power, int)).take().parse_to())).parse_next(input)
}

fn sign(input: &mut Input<'_>) -> winnow::Result<()> {
    let double = alt(("<=", ">=", "<>", "!=", "||", "??")).void();
    let single = one_of(['(', ')', '{', '}', ',', '/', '*', '%', '+', '-', '<', '>', '=']).void();
    alt((double, single)).parse_next(input)
}

/// Length of what `parser` takes at the beginning of `rest`, and what it makes of it.
fn taken<'a, O>(rest: &'a str, mut parser: impl Parser<Input<'a>, O, Error>) -> Option<(usize, O)> {
    let mut left = rest;
    let out = parser.parse_next(&mut left).ok()?;
    Some((rest.len() - left.len(), out))
}

/// In the reference `FROM /messages/* WHERE a = 1 /* b */ INTO …` has no condition.
const SWALLOWS: &str = "a later `*/` makes a comment of this `/*` and of the clause behind it; write \
                        `/` for `/*`, which means the same";

const UNREADABLE: &str =
    "this string is not closed, or has an escape other than \\\" \\' \\\\ \\uXXXX";

fn is_clause(word: &str) -> bool {
    ["WHERE", "INTO"].iter().any(|clause| clause.eq_ignore_ascii_case(word))
}

/// As much as a whole twin may have.
const MOST_BYTES: usize = 32_768;

/// All tokens, with `End` as the last; or what cannot be read, and why.
pub(super) fn tokens(text_of_route: &str) -> Result<Vec<Token<'_>>, Fault> {
    if text_of_route.len() > MOST_BYTES {
        return Err(Fault::new(0..0, format!("a route can have {MOST_BYTES} bytes at most")));
    }
    let mut found = Vec::new();
    let mut at = 0;
    let mut is_source = false;
    loop {
        let start = at;
        at += taken(&text_of_route[at..], gap).map_or(0, |(length, ())| length);
        if let Some(comment) = text_of_route[start..at].find("/*").filter(|_| is_source) {
            let comment = start + comment;
            if text_of_route[comment..at].split_ascii_whitespace().any(is_clause) {
                return Err(Fault::new(comment..comment + 2, SWALLOWS));
            }
        }
        let rest = &text_of_route[at..];
        let Some(first) = rest.chars().next() else {
            found.push(Token { kind: Kind::End, text: "", at: at..at });
            return Ok(found);
        };
        let name = taken(rest, take_while(1.., is_name).void()).map(|(l, ())| (l, Kind::Word));
        let system = taken(rest, ('$', take_while(1.., |c| is_name(c) || "[]".contains(c))).void());
        let candidates = [
            system.map(|(length, ())| (length, Kind::System)),
            taken(rest, text).map(|(length, text)| (length, Kind::Text(text))),
            taken(rest, number).map(|(length, number)| (length, Kind::Number(number))),
            taken(rest, sign).map(|(length, ())| (length, Kind::Sign)),
            name,
        ];
        // Of equally long ones the first.
        let longest = candidates.into_iter().flatten().reduce(|a, b| if b.0 > a.0 { b } else { a });
        let (length, kind) = match (longest, first) {
            (Some((1, Kind::Word)) | None, '"' | '\'') => {
                let line = rest.lines().next().unwrap_or("").len();
                return Err(Fault::new(at..at + line, UNREADABLE));
            }
            (None, ';') => {
                let fault = Fault::new(at..at + 1, "this character has no meaning in a route");
                return Err(fault.hint("a route ends without a semicolon"));
            }
            (None, _) => {
                let length = taken(rest, any).map_or(1, |(length, _)| length);
                return Err(Fault::new(
                    at..at + length,
                    "this character has no meaning in a route",
                ));
            }
            (Some(longest), _) => longest,
        };
        let word = &rest[..length];
        is_source = word.eq_ignore_ascii_case("FROM") || is_source && !is_clause(word);
        found.push(Token { kind, text: word, at: at..at + length });
        at += length;
    }
}
