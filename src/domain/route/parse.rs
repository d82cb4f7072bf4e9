//! From a text to a [`Statement`], or to a condition alone.
//!
//! next: `grammar.rs`, which reads conditions.

use std::ops::Range;

use winnow::Parser;
use winnow::combinator::{alt, opt, repeat};
use winnow::error::ErrMode;
use winnow::stream::{Stateful, TokenSlice};
use winnow::token::any;

use super::error::Fault;
use super::expr::{Expr, Literal};
use super::lex::{Kind, Token, tokens};
use super::tokens::{Failure, Tokens, is_reserved, last, must, peek, sign, word, wrong};
use super::{RouteError, Sink, Source, Statement, grammar, hint};
use crate::domain::nearest::nearest;

/// Of the route `name`.
pub(super) fn statement(name: &str, text: &str) -> Result<Statement, RouteError> {
    read(name, text, whole_statement)
}

/// What stands behind WHERE; the empty text is undefined.
pub(super) fn condition(name: &str, text: &str) -> Result<Expr, RouteError> {
    read(name, text, |input| {
        if peek(input).kind == Kind::End {
            return Ok(Expr::Literal(Literal::Undefined));
        }
        let part = grammar::condition(input)?;
        match peek(input).kind {
            Kind::End => Ok(part.expr),
            _ => Err(wrong(hint::after_condition(input, "the end"))),
        }
    })
}

fn read<O>(
    name: &str,
    text: &str,
    parser: impl for<'t> FnOnce(&mut Tokens<'t>) -> Result<O, Failure>,
) -> Result<O, RouteError> {
    let read = || {
        let tokens = tokens(text)?;
        let mut input = Stateful { input: TokenSlice::new(&tokens), state: 0 };
        parser(&mut input).map_err(|failure| match failure {
            ErrMode::Cut(fault) | ErrMode::Backtrack(fault) => fault,
            ErrMode::Incomplete(_) => Fault::new(text.len()..text.len(), "expected more"),
        })
    };
    read().map_err(|fault| RouteError::of(name, text, fault))
}

fn whole_statement(input: &mut Tokens<'_>) -> Result<Statement, Failure> {
    if opt(word("SELECT")).parse_next(input)?.is_some() {
        must(sign("*"), || "expected `*` after SELECT".to_owned()).parse_next(input)?;
        keyword("FROM", "expected FROM after SELECT *").parse_next(input)?;
    } else {
        keyword("FROM", "expected FROM, or SELECT *").parse_next(input)?;
    }
    let source = source(input)?;
    let condition = match opt(word("WHERE")).parse_next(input)? {
        Some(_) => Some(grammar::condition(input)?.expr),
        None => None,
    };
    if condition.is_some() && !peek(input).is_word("INTO") {
        return Err(wrong(hint::after_condition(input, "INTO")));
    }
    keyword("INTO", "expected WHERE or INTO after the source").parse_next(input)?;
    let sink = sink(input)?;
    match peek(input).kind {
        Kind::End => Ok(Statement { source, condition, sink }),
        _ => Err(wrong(trailing(input))),
    }
}

fn keyword<'t>(
    wanted: &'static str,
    expected: &'static str,
) -> impl Parser<Tokens<'t>, &'t Token<'t>, Failure> {
    move |input: &mut Tokens<'t>| {
        let token = peek(input);
        let keywords = ["SELECT", "FROM", "WHERE", "INTO"];
        let near = nearest(token.text, keywords.into_iter()).filter(|near| *near != token.text);
        let near = near.filter(|_| token.kind == Kind::Word && !token.is_word("SELECT"));
        let fault = Fault::new(token.at.clone(), expected)
            .hint_if(near.map(|word| format!("did you mean {word}?")));
        word(wanted).parse_next(input).map_err(|_: Failure| wrong(fault))
    }
}

/// All that is left; in the reference it is ignored.
fn trailing(input: &Tokens<'_>) -> Fault {
    let mut rest = input.input.iter().filter(|token| token.kind != Kind::End);
    let start = peek(input).at.start;
    let end = rest.next_back().map_or(start, |token| token.at.end);
    let fault = Fault::new(start..end, "expected nothing more after the sink");
    match peek(input).is_word("WHERE") {
        true => fault.hint("WHERE stands before INTO"),
        false => fault,
    }
}

fn source(input: &mut Tokens<'_>) -> Result<Source, Failure> {
    let start = peek(input).at.start;
    let item = any.verify_map(|token: &Token<'_>| {
        let is_item = match token.kind {
            Kind::Word => !is_reserved(token),
            Kind::System | Kind::Number(_) => true,
            Kind::Sign => token.text == "*",
            Kind::Text(_) | Kind::End => false,
        };
        is_item.then(|| token.text.to_owned())
    });
    let item = (sign("/"), opt(item)).map(|(_, item)| item.unwrap_or_default());
    let items: Vec<String> = repeat(0.., item).parse_next(input)?;
    if items.is_empty() {
        return Err(wrong(Fault::new(peek(input).at.clone(), "expected a source, as /messages/*")));
    }
    let end = last(input).map_or(start, |token| token.at.end);
    Source::of_items(&items).map_err(|bad| {
        let fault = Fault::new(start..end, bad.to_string());
        wrong(fault.hint_if(near_source(&items)))
    })
}

fn near_source(items: &[String]) -> Option<String> {
    let known = ["messages", "twinChangeNotifications"];
    let near = nearest(items.first()?, known.into_iter())?;
    (near != items[0]).then(|| format!("did you mean /{near}?"))
}

fn sink(input: &mut Tokens<'_>) -> Result<Sink, Failure> {
    let upstream = any.verify(|token: &&Token<'_>| {
        token.kind == Kind::System && token.text.eq_ignore_ascii_case("$upstream")
    });
    let found = peek(input);
    let fault = || {
        let known = ["$upstream", "BrokeredEndpoint"];
        let near = nearest(found.text, known.into_iter());
        Fault::new(found.at.clone(), SINKS).hint_if(near.map(|it| format!("did you mean {it}?")))
    };
    match alt((upstream, word("BrokeredEndpoint"))).parse_next(input) {
        Ok(token) if token.kind == Kind::System => return Ok(Sink::Upstream),
        Ok(_) => {}
        Err(_) => return Err(wrong(fault())),
    }
    must(sign("("), || "expected `(` after BrokeredEndpoint".to_owned()).parse_next(input)?;
    let address = any.verify_map(|token: &Token<'_>| match &token.kind {
        Kind::Text(address) => Some((address.clone(), token.at.clone())),
        _ => None,
    });
    let expected = || "expected an address in quotes, as \"/modules/m/inputs/i\"".to_owned();
    let (address, at): (String, Range<usize>) = must(address, expected).parse_next(input)?;
    let sink = Sink::of_address(&address).map_err(|bad| wrong(Fault::new(at, bad.to_string())))?;
    must(sign(")"), || "expected `)` after the address".to_owned()).parse_next(input)?;
    Ok(sink)
}

const SINKS: &str = "expected $upstream or BrokeredEndpoint(\"/modules/m/inputs/i\")";
