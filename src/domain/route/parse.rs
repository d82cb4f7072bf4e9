//! From tokens to a [`Statement`].
//!
//! The condition is `[NOT] IS_DEFINED(name)`; whatever else the language has is refused by name
//! of the place, never ignored.

use super::lex::{Kind, Token, tokens};
use super::{Condition, Name, RouteError, Sink, Source, Statement};

const ONLY: &str = "for now a condition can only be [NOT] IS_DEFINED(name)";

/// Words that are not names unless written `{$word}`, in any case.
const RESERVED: [&str; 7] = ["select", "from", "where", "into", "and", "or", "not"];

/// Literals, in lower case only.
const LITERALS: [&str; 4] = ["true", "false", "null", "undefined"];

struct Parser<'a> {
    route: &'a str,
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

pub(super) fn statement(route: &str, text: &str) -> Result<Statement, RouteError> {
    let tokens = tokens(text).map_err(|(range, why)| RouteError::at(route, text, range, why))?;
    let mut parser = Parser { route, text, tokens, at: 0 };
    if parser.take_word("SELECT") {
        parser.sign("*", "expected `*` after SELECT")?;
        parser.word("FROM", "expected FROM after SELECT *")?;
    } else {
        parser.word("FROM", "expected FROM, or SELECT *")?;
    }
    let source = parser.source()?;
    let condition = match parser.take_word("WHERE") {
        true => Some(parser.condition()?),
        false => None,
    };
    let why = match &condition {
        Some(_) => format!("expected INTO; {ONLY}"),
        None => "expected WHERE or INTO after the source".to_owned(),
    };
    parser.word("INTO", &why)?;
    let sink = parser.sink()?;
    match parser.peek().kind {
        Kind::End => Ok(Statement { source, condition, sink }),
        _ => Err(parser.error_to_end("expected nothing more after the sink")),
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn text_of(&self, token: &Token) -> &str {
        &self.text[token.at.clone()]
    }

    /// Never goes past the end.
    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn error(&self, why: &str) -> RouteError {
        RouteError::at(self.route, self.text, self.peek().at.clone(), why)
    }

    fn error_to_end(&self, why: &str) -> RouteError {
        let end = self.text.trim_end().len();
        RouteError::at(self.route, self.text, self.peek().at.start..end, why)
    }

    fn is_word(&self, word: &str) -> bool {
        let token = self.peek();
        token.kind == Kind::Word && self.text_of(token).eq_ignore_ascii_case(word)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word(word);
        if is_there {
            self.advance();
        }
        is_there
    }

    fn word(&mut self, word: &str, why: &str) -> Result<(), RouteError> {
        if self.take_word(word) { Ok(()) } else { Err(self.error(why)) }
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_there = self.peek().kind == Kind::Sign && self.text_of(self.peek()) == sign;
        if is_there {
            self.advance();
        }
        is_there
    }

    fn sign(&mut self, sign: &str, why: &str) -> Result<(), RouteError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.error(why)) }
    }

    fn is_reserved(&self) -> bool {
        let token = self.peek();
        let is_literal = token.kind == Kind::Word && LITERALS.contains(&self.text_of(token));
        is_literal || RESERVED.iter().any(|word| self.is_word(word))
    }

    fn source(&mut self) -> Result<Source, RouteError> {
        let start = self.peek().at.start;
        let mut items = Vec::new();
        let mut end = start;
        while self.take_sign("/") {
            end = self.tokens[self.at - 1].at.end;
            let token = self.peek();
            let is_item = match token.kind {
                Kind::Word => !self.is_reserved(),
                Kind::System | Kind::Number => true,
                Kind::Sign => self.text_of(token) == "*",
                Kind::Text(_) | Kind::End => false,
            };
            if is_item {
                items.push(self.text_of(token).to_owned());
                end = token.at.end;
                self.advance();
            } else {
                items.push(String::new());
            }
        }
        if items.is_empty() {
            return Err(self.error("expected a source, as /messages/*"));
        }
        Source::of_items(&items)
            .map_err(|bad| RouteError::at(self.route, self.text, start..end, bad.to_string()))
    }

    fn condition(&mut self) -> Result<Condition, RouteError> {
        if self.take_word("NOT") {
            return Ok(Condition::Not(Box::new(self.is_defined()?)));
        }
        self.is_defined()
    }

    fn is_defined(&mut self) -> Result<Condition, RouteError> {
        self.word("IS_DEFINED", &format!("this condition is not supported; {ONLY}"))?;
        self.sign("(", "expected `(` after IS_DEFINED")?;
        let name = self.name()?;
        self.sign(")", &format!("expected `)` after the name; {ONLY}"))?;
        Ok(Condition::IsDefined(name))
    }

    fn name(&mut self) -> Result<Name, RouteError> {
        let is_braced = self.take_sign("{");
        let token = self.peek().clone();
        let text = self.text_of(&token).to_owned();
        if text.to_ascii_lowercase().starts_with("$body") && token.kind == Kind::System {
            let rest = text[5..].chars().next();
            if rest.is_none_or(|c| ".[".contains(c)) {
                return Err(self.error(&format!("queries of the body are not supported; {ONLY}")));
            }
        }
        let name = match token.kind {
            Kind::System if text.contains(['[', ']']) => {
                return Err(self.error("`[` and `]` are for queries of the body only"));
            }
            Kind::System if is_braced => Name::System(text[1..].to_owned()),
            Kind::System => Name::Either(text[1..].to_owned()),
            Kind::Word if text.starts_with('\'') => {
                return Err(self.error("this string is not closed"));
            }
            Kind::Word if !is_braced && !self.is_reserved() => Name::App(text),
            _ if is_braced => return Err(self.error("expected a system property, as {$userId}")),
            _ => return Err(self.error(&format!("expected the name of a property; {ONLY}"))),
        };
        self.advance();
        if is_braced {
            self.sign("}", "expected `}` after the name")?;
        }
        Ok(name)
    }

    fn sink(&mut self) -> Result<Sink, RouteError> {
        const SINKS: &str = "expected $upstream or BrokeredEndpoint(\"/modules/m/inputs/i\")";
        let token = self.peek();
        if token.kind == Kind::System && self.text_of(token).eq_ignore_ascii_case("$upstream") {
            self.advance();
            return Ok(Sink::Upstream);
        }
        self.word("BrokeredEndpoint", SINKS)?;
        self.sign("(", "expected `(` after BrokeredEndpoint")?;
        let Kind::Text(address) = self.peek().kind.clone() else {
            return Err(self.error("expected an address in quotes, as \"/modules/m/inputs/i\""));
        };
        let sink = Sink::of_address(&address).map_err(|bad| self.error(&bad.to_string()))?;
        self.advance();
        self.sign(")", "expected `)` after the address")?;
        Ok(sink)
    }
}
