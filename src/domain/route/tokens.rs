//! What the parsers of tokens share: the stream, its errors, and a few small parsers.

use std::ops::Range;

use winnow::Parser;
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{Stateful, Stream, TokenSlice};
use winnow::token::any;

use super::error::Fault;
use super::lex::{Kind, Token};

/// Words that are not names unless written `{$word}`, in any case.
const RESERVED: [&str; 7] = ["select", "from", "where", "into", "and", "or", "not"];

/// Literals, in lower case only.
const LITERALS: [&str; 4] = ["true", "false", "null", "undefined"];

/// The last token is [`Kind::End`], which nobody takes. The state is how deep a part is nested.
pub(super) type Tokens<'t> = Stateful<TokenSlice<'t, Token<'t>>, usize>;

/// `Backtrack`: it is something else; `Cut`: it is wrong.
pub(super) type Failure = ErrMode<Fault>;

impl<'t> ParserError<Tokens<'t>> for Fault {
    type Inner = Self;

    fn from_input(input: &Tokens<'t>) -> Self {
        Fault::new(peek(input).at.clone(), "this cannot be read")
    }

    fn into_inner(self) -> Result<Self::Inner, Self> {
        Ok(self)
    }
}

/// The next one.
pub(super) fn peek<'t>(input: &Tokens<'t>) -> &'t Token<'t> {
    input.input.peek_token().expect("the end is never taken")
}

/// The one before, if there is one.
pub(super) fn last<'t>(input: &Tokens<'t>) -> Option<&'t Token<'t>> {
    input.input.previous_tokens().next()
}

/// The next one and the one behind it.
pub(super) fn peek_two<'t>(input: &Tokens<'t>) -> (&'t Token<'t>, Option<&'t Token<'t>>) {
    let mut ahead = input.input.clone();
    (peek(input), ahead.next_token().and_then(|_| ahead.peek_token()))
}

/// A sign.
pub(super) fn sign<'t>(wanted: &'static str) -> impl Parser<Tokens<'t>, &'t Token<'t>, Failure> {
    any.verify(move |token: &&Token<'t>| token.is_sign(wanted))
}

/// A keyword.
pub(super) fn word<'t>(wanted: &'static str) -> impl Parser<Tokens<'t>, &'t Token<'t>, Failure> {
    any.verify(move |token: &&Token<'t>| token.is_word(wanted))
}

/// What must stand here, or it is wrong.
pub(super) fn must<'t, O>(
    mut parser: impl Parser<Tokens<'t>, O, Failure>,
    expected: impl Fn() -> String,
) -> impl Parser<Tokens<'t>, O, Failure> {
    move |input: &mut Tokens<'t>| {
        let at = peek(input).at.clone();
        parser.parse_next(input).map_err(|failure: Failure| match failure {
            ErrMode::Backtrack(_) => wrong(Fault::new(at.clone(), expected())),
            failure => failure,
        })
    }
}

/// It is wrong.
pub(super) fn wrong(fault: Fault) -> Failure {
    ErrMode::Cut(fault)
}

/// It is something else.
pub(super) fn other(at: &Range<usize>) -> Failure {
    ErrMode::Backtrack(Fault::new(at.clone(), "this cannot be read"))
}

/// Whether it is a keyword.
pub(super) fn is_keyword(token: &Token<'_>) -> bool {
    token.kind == Kind::Word && RESERVED.iter().any(|word| token.is_word(word))
}

/// Whether it is a word that cannot be a name.
pub(super) fn is_reserved(token: &Token<'_>) -> bool {
    is_keyword(token) || token.kind == Kind::Word && LITERALS.contains(&token.text)
}
