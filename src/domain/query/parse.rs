//! From text to a query, by descent; whatever is not understood is named with its place.

use serde_json::Value;

use super::condition::{Comparison, Condition, Operand, Search, Type};
use super::lex::{Kind, Token, tokens};
use super::{BadQuery, Query, Select};

/// Brackets and NOTs within each other; more are refused.
const MOST_NESTED: usize = 50;

const TYPES: [(&str, Type); 7] = [
    ("IS_NULL", Type::Null),
    ("IS_BOOL", Type::Bool),
    ("IS_NUMBER", Type::Number),
    ("IS_STRING", Type::Text),
    ("IS_ARRAY", Type::Array),
    ("IS_OBJECT", Type::Object),
    ("IS_PRIMITIVE", Type::Primitive),
];

const SEARCHES: [(&str, Search); 5] = [
    ("STARTS_WITH", Search::Begins),
    ("STARTSWITH", Search::Begins),
    ("ENDS_WITH", Search::Ends),
    ("ENDSWITH", Search::Ends),
    ("CONTAINS", Search::Contains),
];

const COMPARISONS: [(&str, Comparison); 7] = [
    ("=", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<>", Comparison::NotEqual),
    ("<", Comparison::Less),
    ("<=", Comparison::AtMost),
    (">", Comparison::Greater),
    (">=", Comparison::AtLeast),
];

pub(super) fn query(text: &str) -> Result<Query, BadQuery> {
    let place = |at: usize| text[..at].chars().count() + 1;
    let tokens = tokens(text).map_err(|(at, why)| {
        let found = text[at..].chars().take(20).collect::<String>();
        BadQuery { at: place(at), found: format!("`{found}`"), why: why.to_owned() }
    })?;
    let mut parser = Parser { tokens: &tokens, depth: 0, names: Vec::new() };
    parser.query().map_err(|why| {
        let token = parser.peek();
        let found = match token.kind {
            Kind::End => "its end".to_owned(),
            _ => format!("`{}`", token.text.chars().take(60).collect::<String>()),
        };
        BadQuery { at: place(token.at), found, why }
    })
}

struct Parser<'a> {
    /// What is left; `End` stays.
    tokens: &'a [Token<'a>],
    depth: usize,
    /// What a path may begin with to say where it is from.
    names: Vec<Vec<&'a str>>,
}

type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a Token<'a> {
        &self.tokens[0]
    }

    fn next(&mut self) -> &'a Token<'a> {
        let token = self.peek();
        if token.kind != Kind::End {
            self.tokens = &self.tokens[1..];
        }
        token
    }

    fn is_word(&self, word: &str) -> bool {
        self.peek().kind == Kind::Word && self.peek().text.eq_ignore_ascii_case(word)
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_it = self.is_word(word);
        if is_it {
            self.next();
        }
        is_it
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let is_it = self.peek().kind == Kind::Sign && self.peek().text == sign;
        if is_it {
            self.next();
        }
        is_it
    }

    fn word(&mut self, word: &str) -> Parsed<()> {
        if self.takes_word(word) { Ok(()) } else { Err(format!("{word} is expected here")) }
    }

    fn sign(&mut self, sign: &str) -> Parsed<()> {
        if self.takes_sign(sign) { Ok(()) } else { Err(format!("`{sign}` is expected here")) }
    }

    fn query(&mut self) -> Parsed<Query> {
        self.word("SELECT")?;
        let top = if self.takes_word("TOP") { Some(self.top()?) } else { None };
        // What it is from says how the paths before it are to be read.
        let before = self.tokens;
        while self.peek().kind != Kind::End && !self.is_word("FROM") {
            self.next();
        }
        let from = self.tokens;
        let source = if self.is_word("FROM") { self.source().ok() } else { None };
        let after = self.tokens;
        self.tokens = before;
        let select = self.select()?;
        self.tokens = from;
        let is_of_modules = match source {
            Some(is_of_modules) => is_of_modules,
            None => self.source()?,
        };
        self.tokens = after;
        let condition = if self.takes_word("WHERE") { Some(self.any()?) } else { None };
        self.takes_sign(";");
        if self.peek().kind == Kind::End {
            return Ok(Query { is_of_modules, select, top, condition });
        }
        Err(match condition {
            Some(_) => "AND, OR or the end is expected here".to_owned(),
            None => "WHERE or the end is expected here; this hub has no GROUP BY, ORDER BY or JOIN"
                .to_owned(),
        })
    }

    fn top(&mut self) -> Parsed<usize> {
        let number = match &self.peek().kind {
            Kind::Literal(number) => number.as_u64().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        let number = number.filter(|number| *number > 0);
        let number = number.ok_or("a number above 0 is expected here")?;
        self.next();
        Ok(number)
    }

    /// `FROM devices[.modules] [[AS] name]`.
    fn source(&mut self) -> Parsed<bool> {
        self.word("FROM")?;
        let unknown = "devices or devices.modules is expected here";
        if !self.takes_word("devices") {
            return Err(unknown.to_owned());
        }
        let is_of_modules = self.takes_sign(".");
        if is_of_modules && !self.takes_word("modules") {
            return Err(unknown.to_owned());
        }
        self.names = vec![vec!["devices", "modules"], vec!["devices"]];
        let is_named = self.takes_word("AS");
        let is_clause = ["WHERE", "GROUP", "ORDER", "JOIN"].iter().any(|word| self.is_word(word));
        if is_named || self.peek().kind == Kind::Word && !is_clause {
            let name = self.next();
            if name.kind != Kind::Word {
                return Err("a name is expected here".to_owned());
            }
            self.names.push(vec![name.text]);
        }
        Ok(is_of_modules)
    }

    fn select(&mut self) -> Parsed<Select> {
        if self.takes_sign("*") {
            return if self.is_word("FROM") {
                Ok(Select::Twins)
            } else {
                Err("FROM is expected here".to_owned())
            };
        }
        let mut places = Vec::new();
        loop {
            if self.is_call() {
                if !self.is_word("COUNT") || !places.is_empty() {
                    return Err("COUNT(), alone, is all that this hub works out".to_owned());
                }
                self.next();
                self.sign("(")?;
                self.takes_sign("*");
                self.sign(")")?;
                let name = self.name()?.unwrap_or_else(|| "count".to_owned());
                self.is_before_from("COUNT() stands alone; FROM is expected here")?;
                return Ok(Select::Count(name));
            }
            let path = self.path()?;
            let last = path.last().cloned().unwrap_or_default();
            places.push((self.name()?.unwrap_or(last), path));
            if !self.takes_sign(",") {
                self.is_before_from("`,` or FROM is expected here")?;
                return Ok(Select::Places(places));
            }
        }
    }

    fn is_before_from(&self, why: &str) -> Parsed<()> {
        if self.is_word("FROM") { Ok(()) } else { Err(why.to_owned()) }
    }

    /// `AS name`.
    fn name(&mut self) -> Parsed<Option<String>> {
        if !self.takes_word("AS") {
            return Ok(None);
        }
        let name = match &self.peek().kind {
            Kind::Word => self.peek().text.to_owned(),
            Kind::Name(name) => name.clone(),
            _ => return Err("a name is expected here".to_owned()),
        };
        self.next();
        Ok(Some(name))
    }

    /// A word with a bracket behind it.
    fn is_call(&self) -> bool {
        self.peek().kind == Kind::Word
            && self.tokens.get(1).is_some_and(|next| next.kind == Kind::Sign && next.text == "(")
    }

    fn any(&mut self) -> Parsed<Condition> {
        let mut parts = vec![self.all()?];
        while self.takes_word("OR") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) })
    }

    fn all(&mut self) -> Parsed<Condition> {
        let mut parts = vec![self.negated()?];
        while self.takes_word("AND") {
            parts.push(self.negated()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) })
    }

    fn negated(&mut self) -> Parsed<Condition> {
        self.depth += 1;
        if self.depth > MOST_NESTED {
            return Err(format!("brackets and NOT go {MOST_NESTED} deep at most"));
        }
        let condition = if self.takes_word("NOT") {
            Condition::Not(Box::new(self.negated()?))
        } else if self.takes_sign("(") {
            let inner = self.any()?;
            self.sign(")")?;
            inner
        } else if self.is_call() {
            self.call()?
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn call(&mut self) -> Parsed<Condition> {
        let name = self.peek().text.to_ascii_uppercase();
        let kind = TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        let search = SEARCHES.iter().find(|(known, _)| *known == name).map(|(_, search)| *search);
        if name != "IS_DEFINED" && kind.is_none() && search.is_none() {
            return Err(
                "this function is not known here: IS_DEFINED, IS_NULL, IS_BOOL, IS_NUMBER, \
                        IS_STRING, IS_ARRAY, IS_OBJECT, IS_PRIMITIVE, STARTS_WITH, ENDS_WITH and \
                        CONTAINS are"
                    .to_owned(),
            );
        }
        self.next();
        self.sign("(")?;
        let condition = match (kind, search) {
            (Some(kind), _) => Condition::IsOf(kind, Operand::Path(self.path()?)),
            (_, Some(search)) => {
                let text = self.operand()?;
                self.sign(",")?;
                Condition::Text(search, text, self.operand()?)
            }
            _ => Condition::IsDefined(self.path()?),
        };
        self.sign(")")?;
        Ok(condition)
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let left = self.operand()?;
        let is_in = self.is_word("IN");
        if is_in || self.is_word("NIN") {
            self.next();
            let among = Condition::Among(left, self.list()?);
            return Ok(if is_in { among } else { Condition::Not(Box::new(among)) });
        }
        let sign = self.peek();
        let how =
            COMPARISONS.iter().find(|(known, _)| sign.kind == Kind::Sign && *known == sign.text);
        let Some((_, how)) = how else {
            return Err("=, !=, <>, <, <=, >, >=, IN or NIN is expected here".to_owned());
        };
        self.next();
        Ok(Condition::Compare(left, *how, self.operand()?))
    }

    fn list(&mut self) -> Parsed<Vec<Value>> {
        self.sign("[")?;
        let mut values = Vec::new();
        if self.takes_sign("]") {
            return Ok(values);
        }
        loop {
            values.push(
                self.literal()
                    .ok_or("a number, a text in quotes, true, false or null is expected here")?,
            );
            if !self.takes_sign(",") {
                self.sign("]")?;
                return Ok(values);
            }
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        match self.literal() {
            Some(value) => Ok(Operand::Literal(value)),
            None => self.path().map(Operand::Path),
        }
    }

    fn literal(&mut self) -> Option<Value> {
        let is_path = self.tokens.get(1).is_some_and(|next| next.text == ".");
        let value = match &self.peek().kind {
            Kind::Literal(value) => value.clone(),
            Kind::Word if !is_path => match self.peek().text.to_ascii_lowercase().as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                _ => return None,
            },
            _ => return None,
        };
        self.next();
        Some(value)
    }

    fn path(&mut self) -> Parsed<Vec<String>> {
        let mut path = Vec::new();
        loop {
            let token = self.peek();
            match &token.kind {
                Kind::Word => path.push(token.text.to_owned()),
                Kind::Name(name) => path.push(name.clone()),
                _ if path.is_empty() => {
                    return Err("a place as tags.site or properties.reported.x, or a value, is \
                                expected here"
                        .to_owned());
                }
                _ => return Err("a name is expected here".to_owned()),
            }
            self.next();
            if !self.takes_sign(".") {
                break;
            }
        }
        let is_own = |name: &&Vec<&str>| {
            path.len() > name.len()
                && path.iter().zip(name.iter()).all(|(a, b)| a.eq_ignore_ascii_case(b))
        };
        let own = self.names.iter().find(is_own).map_or(0, Vec::len);
        Ok(path.split_off(own))
    }
}
