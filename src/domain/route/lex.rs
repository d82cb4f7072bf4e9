//! Tokens of a route. The longest match wins (edgehub.md 2.1), so operators need spaces: `a-b` is
//! one name. All tokens of the full language are known here.

use std::ops::Range;

use winnow::Parser;
use winnow::ascii::digit1;
use winnow::combinator::{alt, delimited, opt, preceded, repeat};
use winnow::token::{any, one_of, take_until, take_while};

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
    Number,
    /// Everything else.
    Sign,
    /// After the last one.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Range<usize>,
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

fn number(input: &mut Input<'_>) -> winnow::Result<()> {
    let exponent = || (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1).void();
    let hex = ("0x", take_while(1.., |c: char| c.is_ascii_hexdigit())).void();
    let real = (opt('-'), opt(digit1), '.', digit1, opt(exponent())).void();
    let power = (opt('-'), digit1, exponent()).void();
    let int = (opt('-'), digit1).void();
    alt((hex, real, power, int)).parse_next(input)
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

fn is_clause(word: &str) -> bool {
    ["WHERE", "INTO"].iter().any(|clause| clause.eq_ignore_ascii_case(word))
}

/// All tokens, with `End` as the last; or what cannot be read, and why.
pub(super) fn tokens(text_of_route: &str) -> Result<Vec<Token>, (Range<usize>, &'static str)> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut is_source = false;
    loop {
        let start = at;
        at += taken(&text_of_route[at..], gap).map_or(0, |(length, ())| length);
        if let Some(comment) = text_of_route[start..at].find("/*").filter(|_| is_source) {
            let comment = start + comment;
            if text_of_route[comment..at].split_ascii_whitespace().any(is_clause) {
                return Err((comment..comment + 2, SWALLOWS));
            }
        }
        let rest = &text_of_route[at..];
        let Some(first) = rest.chars().next() else {
            found.push(Token { kind: Kind::End, at: at..at });
            return Ok(found);
        };
        let name = taken(rest, take_while(1.., is_name).void()).map(|(l, ())| (l, Kind::Word));
        let system = taken(rest, ('$', take_while(1.., |c| is_name(c) || "[]".contains(c))).void());
        let candidates = [
            system.map(|(length, ())| (length, Kind::System)),
            taken(rest, text).map(|(length, text)| (length, Kind::Text(text))),
            taken(rest, number).map(|(length, ())| (length, Kind::Number)),
            taken(rest, sign).map(|(length, ())| (length, Kind::Sign)),
            name,
        ];
        // Of equally long ones the first.
        let longest = candidates.into_iter().flatten().reduce(|a, b| if b.0 > a.0 { b } else { a });
        let length = match (&longest, first) {
            (Some((1, Kind::Word)) | None, '"' | '\'') => {
                let why =
                    "this string is not closed, or has an escape other than \\\" \\' \\\\ \\uXXXX";
                return Err((at..at + rest.lines().next().unwrap_or("").len(), why));
            }
            (None, _) => {
                let length = taken(rest, any).map_or(1, |(length, _)| length);
                return Err((at..at + length, "this character has no meaning in a route"));
            }
            (Some((length, _)), _) => *length,
        };
        let kind = longest.map_or(Kind::End, |(_, kind)| kind);
        let word = &rest[..length];
        is_source = word.eq_ignore_ascii_case("FROM") || is_source && !is_clause(word);
        found.push(Token { kind, at: at..at + length });
        at += length;
    }
}
