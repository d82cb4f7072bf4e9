//! Which types go together in a condition, known before any message comes (edgehub.md 2.4).

use super::expr::{Expr, Literal, Name, Operator};

/// Properties are texts. The type of a body's value only a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number.
    Number,
    /// A text.
    Text,
    /// A truth value.
    Bool,
    /// `null`
    Null,
    /// `undefined`
    Undefined,
    /// Of a body.
    Dynamic,
}

impl Type {
    /// Whether what is `given` may stand where `self` is wanted.
    pub(super) fn fits(self, given: Type) -> bool {
        let is_of_json = |t| matches!(t, Type::Number | Type::Text | Type::Bool | Type::Null);
        self == given
            || given == Type::Dynamic && is_of_json(self)
            || self == Type::Dynamic && is_of_json(given)
    }

    fn is_logical(self) -> bool {
        matches!(self, Type::Bool | Type::Null | Type::Undefined | Type::Dynamic)
    }

    /// In a sentence.
    pub(super) fn text(self) -> &'static str {
        match self {
            Type::Number => "a number",
            Type::Text => "a text",
            Type::Bool => "a truth value",
            Type::Null => "null",
            Type::Undefined => "undefined",
            Type::Dynamic => "a value of the body",
        }
    }
}

/// Of `left operator right`, if they go together.
pub(super) fn of_binary(operator: Operator, left: Type, right: Type) -> Option<Type> {
    use Operator::*;
    let is_dynamic = left == Type::Dynamic || right == Type::Dynamic;
    let both = |wanted: Type| wanted.fits(left) && wanted.fits(right);
    match operator {
        Multiply | Divide | Remainder | Add | Subtract => {
            let of_result = if is_dynamic { Type::Dynamic } else { Type::Number };
            both(Type::Number).then_some(of_result)
        }
        Concat => both(Type::Text).then_some(Type::Text),
        Less | LessOrEqual | Greater | GreaterOrEqual | Equal | NotEqual => {
            left.fits(right).then_some(Type::Bool)
        }
        And | Or => {
            let nulls = [left, right].iter().filter(|t| **t == Type::Null).count();
            let is_null = nulls == 2 || nulls == 1 && operator == And;
            let of_result = if is_null { Type::Null } else { Type::Bool };
            (left.is_logical() && right.is_logical()).then_some(of_result)
        }
        Coalesce => left.fits(right).then_some(if is_dynamic { Type::Dynamic } else { left }),
    }
}

/// Of `NOT inner`, if there is such a thing.
pub(super) fn of_not(inner: Type) -> Option<Type> {
    (inner.is_logical() && inner != Type::Undefined).then_some(Type::Bool)
}

/// Of `- inner`, if there is such a thing.
pub(super) fn of_negate(inner: Type) -> Option<Type> {
    Type::Number.fits(inner).then_some(inner)
}

/// Of a literal.
pub(super) fn of_literal(literal: &Literal) -> Type {
    match literal {
        Literal::Undefined => Type::Undefined,
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Number(_) => Type::Number,
        Literal::Text(_) => Type::Text,
    }
}

/// Of a name.
pub(super) fn of_name(name: &Name) -> Type {
    match name {
        Name::App(_) | Name::Either(_) | Name::System(_) => Type::Text,
        Name::Body(_) | Name::BodyOnly(_) => Type::Dynamic,
    }
}

/// Of a condition, if its parts go together: what was parsed does.
pub fn type_of(expr: &Expr) -> Option<Type> {
    match expr {
        Expr::Literal(literal) => Some(of_literal(literal)),
        Expr::Name(name) => Some(of_name(name)),
        Expr::Not(inner) => of_not(type_of(inner)?),
        Expr::Negate(inner) => of_negate(type_of(inner)?),
        Expr::Binary(operator, left, right) => {
            of_binary(*operator, type_of(left)?, type_of(right)?)
        }
        Expr::Call(function, arguments) => {
            let (least, most) = function.arity();
            let mut all = arguments.iter().enumerate();
            let fits = (least..=most).contains(&arguments.len())
                && all.all(|(at, it)| type_of(it).is_some_and(|t| function.wants(at).takes(t)));
            fits.then_some(function.gives())
        }
    }
}
