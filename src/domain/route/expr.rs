//! Conditions as trees: small, comparable, printable; what is printed is read back the same.

use std::fmt;

use super::function::Function;
use super::path::BodyPath;

/// A condition, or a part of one. Brackets are not kept: printing sets those that are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// What it says.
    Literal(Literal),
    /// A property, or a place in the body.
    Name(Name),
    /// `NOT x`
    Not(Box<Expr>),
    /// `- x`
    Negate(Box<Expr>),
    /// `x + y` and the like.
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `f(x, y)`
    Call(Function, Vec<Expr>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `undefined`
    Undefined,
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `-1`, `0x1F`, `2.5e3`
    Number(Number),
    /// `"…"` or `'…'`
    Text(String),
}

/// As it stands in a text: never NaN, and 0 is not -0.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}

/// How a property is named (edgehub.md 2.3). Case does not matter, but in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `name`: an application property.
    App(String),
    /// `$name`: the application property called `$name` if it is there, else the system property.
    Either(String),
    /// `{$name}`: the system property.
    System(String),
    /// `$body.path`: the application property of this name if it is there, else the body's value.
    Body(BodyPath),
    /// `{$body.path}`: the body's value.
    BodyOnly(BodyPath),
}

/// Between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Operator {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
    Concat,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
    Coalesce,
}

impl Operator {
    /// All of them, as they are written.
    pub const ALL: [(&str, Operator); 15] = [
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Remainder),
        ("+", Operator::Add),
        ("-", Operator::Subtract),
        ("||", Operator::Concat),
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
        ("=", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("AND", Operator::And),
        ("OR", Operator::Or),
        ("??", Operator::Coalesce),
    ];

    /// What is written; `<>` is `!=`.
    pub fn parse(text: &str) -> Option<Operator> {
        let text = if text == "<>" { "!=" } else { text };
        let found = Self::ALL.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, operator)| *operator)
    }

    /// How it is written.
    pub fn text(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// The higher, the tighter it binds.
    pub fn power(self) -> i64 {
        use Operator::*;
        match self {
            Multiply | Divide | Remainder => 7,
            Add | Subtract | Concat => 6,
            Less | LessOrEqual | Greater | GreaterOrEqual => 5,
            Equal | NotEqual => 4,
            And => 3,
            Or => 2,
            Coalesce => 1,
        }
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        matches!(self.power(), 4 | 5)
    }
}

/// Of `NOT` and `-` before an operand.
pub(super) const UNARY: i64 = 8;

impl Expr {
    fn power(&self) -> i64 {
        match self {
            Expr::Binary(operator, ..) => operator.power(),
            Expr::Not(_) | Expr::Negate(_) => UNARY,
            Expr::Literal(_) | Expr::Name(_) | Expr::Call(..) => UNARY + 1,
        }
    }

    /// What it is made of.
    pub fn operands(&self) -> Vec<&Expr> {
        match self {
            Expr::Literal(_) | Expr::Name(_) => Vec::new(),
            Expr::Not(inner) | Expr::Negate(inner) => vec![inner],
            Expr::Binary(_, left, right) => vec![left, right],
            Expr::Call(_, arguments) => arguments.iter().collect(),
        }
    }

    /// Itself and all its parts, outermost and leftmost first: a part's place here is its number
    /// for an [`super::Observer`].
    pub fn parts(&self) -> Vec<&Expr> {
        let mut parts = vec![self];
        for operand in self.operands() {
            parts.extend(operand.parts());
        }
        parts
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, at_least: i64) -> fmt::Result {
        let is_bracketed = self.power() < at_least;
        if is_bracketed {
            f.write_str("(")?;
        }
        match self {
            Expr::Literal(literal) => write!(f, "{literal}")?,
            Expr::Name(name) => write!(f, "{name}")?,
            Expr::Not(inner) => {
                f.write_str("NOT ")?;
                inner.write(f, UNARY)?;
            }
            Expr::Negate(inner) => {
                f.write_str("- ")?;
                inner.write(f, UNARY)?;
            }
            Expr::Binary(operator, left, right) => {
                left.write(f, operator.power())?;
                write!(f, " {} ", operator.text())?;
                right.write(f, operator.power() + 1)?;
            }
            Expr::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                for (at, argument) in arguments.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    argument.write(f, 0)?;
                }
                f.write_str(")")?;
            }
        }
        if is_bracketed { f.write_str(")") } else { Ok(()) }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Undefined => f.write_str("undefined"),
            Literal::Null => f.write_str("null"),
            Literal::Bool(is_true) => write!(f, "{is_true}"),
            Literal::Number(Number(number)) if number.is_infinite() => {
                f.write_str(if *number > 0.0 { "1e999" } else { "-1e999" })
            }
            Literal::Number(Number(number)) => write!(f, "{number}"),
            Literal::Text(text) => f.write_str(&quoted(text)),
        }
    }
}

/// As a string literal.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::App(name) => f.write_str(name),
            Name::Either(name) => write!(f, "${name}"),
            Name::System(name) => write!(f, "{{${name}}}"),
            Name::Body(path) => write!(f, "$body.{path}"),
            Name::BodyOnly(path) => write!(f, "{{$body.{path}}}"),
        }
    }
}
