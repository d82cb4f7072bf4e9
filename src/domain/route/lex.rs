//! Tokens of a route. The longest match wins (edgehub.md 2.1), so operators need spaces: `a-b` is
//! one name. All tokens of the full language are known here.

use std::ops::Range;

use winnow::Parser;
use winnow::ascii::digit1;
use winnow::combinator::{alt, delimited, opt, preceded, repeat};
use winnow::token::{any, none_of, one_of, take_until, take_while};

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
        let code = hex.verify_map(|hex| u32::from_str_radix(hex, 16).ok().and_then(char::from_u32));
        let escape = preceded('\\', alt((one_of(['"', '\'', '\\']), preceded('u', code))));
        let chars = repeat(0.., alt((none_of([quote, '\\']), escape))).fold(
            String::new,
            |mut text: String, c| {
                text.push(c);
                text
            },
        );
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

/// All tokens, with `End` as the last; or what cannot be read, and why.
pub(super) fn tokens(text_of_route: &str) -> Result<Vec<Token>, (Range<usize>, &'static str)> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        at += taken(&text_of_route[at..], gap).map_or(0, |(length, ())| length);
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
        found.push(Token { kind, at: at..at + length });
        at += length;
    }
}
