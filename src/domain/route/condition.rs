//! A condition made ready: names are numbers, constants are computed. It is evaluated by one code,
//! whoever watches.

use super::expr::{Expr, Literal, Number, Operator};
use super::function::{Function, Wants};
use super::names::{Names, Origin};
use super::reading::Reading;
use super::types::{Type, of_binary, of_literal, of_name, of_negate, of_not};
use super::value::{Value, concat, negate, not, operate};

/// Watches how conditions come to their answer.
pub trait Observer {
    /// Whether every part is to be evaluated, also where the answer is known without it. What the
    /// answer is does not depend on it.
    const EVERY: bool;

    /// The part of this number, as in [`Expr::parts`], has this value.
    fn value(&mut self, _part: usize, _value: &Value<'_>) {}

    /// A route was judged; the values told before were of its condition.
    fn route(&mut self, _route: &super::Route, _judged: super::Judged) {}
}

/// Nobody watches.
impl Observer for () {
    const EVERY: bool = false;
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    root: Node,
    of: Type,
}

#[derive(Clone, Debug)]
struct Node {
    /// Its number, in the order of [`Expr::parts`].
    part: usize,
    /// What a body's value must be to count.
    must_be: Option<Type>,
    /// The answer, if it depends on no message.
    constant: Option<Value<'static>>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Literal(Value<'static>),
    Name(Origin),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary {
        operator: Operator,
        is_dynamic: bool,
        is_short: bool,
        left: Box<Node>,
        right: Box<Node>,
    },
    Call {
        function: Function,
        is_dynamic: bool,
        arguments: Vec<Node>,
    },
}

impl Condition {
    /// `expr` was parsed: its types go together.
    pub(super) fn new(expr: &Expr, names: &mut Names) -> Self {
        let (root, of) = Maker { names, parts: 0 }.node(expr);
        Condition { root, of }
    }

    /// `None`: undefined.
    pub(super) fn truth<O: Observer>(&self, reading: &Reading<'_>, seen: &mut O) -> Option<bool> {
        let value = self.root.eval(reading, seen);
        match self.of {
            Type::Bool | Type::Dynamic => value.truth(),
            Type::Null => Some(false),
            Type::Number | Type::Text | Type::Undefined => None,
        }
    }

    /// Its value, not yet taken for its truth.
    pub(super) fn value<'s>(&'s self, reading: &'s Reading<'_>) -> Value<'s> {
        self.root.eval(reading, &mut ())
    }
}

impl Node {
    fn eval<'s, O: Observer>(&'s self, reading: &'s Reading<'_>, seen: &mut O) -> Value<'s> {
        if let Some(constant) = self.constant.as_ref().filter(|_| !O::EVERY) {
            return constant.borrow();
        }
        let value = self.compute(reading, seen);
        seen.value(self.part, &value);
        match self.must_be {
            Some(wanted) if !is_of(&value, wanted) => Value::Undefined,
            _ => value,
        }
    }

    fn compute<'s, O: Observer>(&'s self, reading: &'s Reading<'_>, seen: &mut O) -> Value<'s> {
        match &self.kind {
            Kind::Literal(value) => value.borrow(),
            Kind::Name(origin) => reading.get(*origin),
            Kind::Not(inner) => not(&inner.eval(reading, seen)),
            Kind::Negate(inner) => negate(&inner.eval(reading, seen)),
            Kind::Binary { operator, is_dynamic, is_short, left, right } => {
                let left = left.eval(reading, seen);
                let is_known = match operator {
                    Operator::And => left == Value::Bool(false),
                    Operator::Or => left == Value::Bool(true),
                    _ => left.is_defined(),
                };
                if *is_short && is_known && !O::EVERY {
                    return left;
                }
                operate(*operator, left, right.eval(reading, seen), *is_dynamic)
            }
            Kind::Call { function: Function::Concat, arguments, .. } => {
                let mut all = arguments.iter();
                let first = all.next().map_or(Value::Undefined, |it| it.eval(reading, seen));
                all.fold(first, |joined, it| concat(joined, it.eval(reading, seen)))
            }
            Kind::Call { function, is_dynamic, arguments } => {
                let mut values = [const { Value::Undefined }; 3];
                for (place, argument) in values.iter_mut().zip(arguments) {
                    *place = argument.eval(reading, seen);
                }
                let is_asking = matches!(function, Function::IsBool | Function::IsNull);
                if is_asking && !is_dynamic && values[0] == Value::Undefined {
                    return Value::Bool(false);
                }
                function.call(values, arguments.len())
            }
        }
    }

    fn is_constant(&self) -> bool {
        self.constant.is_some()
    }
}

fn is_of(value: &Value<'_>, wanted: Type) -> bool {
    match wanted {
        Type::Number => matches!(value, Value::Number(_)),
        Type::Text => matches!(value, Value::Text(_)),
        _ => matches!(value, Value::Bool(_)),
    }
}

struct Maker<'n> {
    names: &'n mut Names,
    parts: usize,
}

impl Maker<'_> {
    fn node(&mut self, expr: &Expr) -> (Node, Type) {
        let part = self.parts;
        self.parts += 1;
        let bad = Type::Undefined; // what was parsed has a type
        let (kind, of) = match expr {
            Expr::Literal(literal) => (Kind::Literal(value_of(literal)), of_literal(literal)),
            Expr::Name(name) => (Kind::Name(self.names.note(name)), of_name(name)),
            Expr::Not(inner) => {
                let (inner, of) = self.node(inner);
                (Kind::Not(Box::new(inner.must_be(of, Type::Bool))), of_not(of).unwrap_or(bad))
            }
            Expr::Negate(inner) => {
                let (inner, of) = self.node(inner);
                let kind = Kind::Negate(Box::new(inner.must_be(of, Type::Number)));
                (kind, of_negate(of).unwrap_or(bad))
            }
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right),
            Expr::Call(function, arguments) => self.call(*function, arguments),
        };
        let mut node = Node { part, must_be: None, constant: None, kind };
        if node.depends_on_nothing() {
            let (none, nothing) = (Names::default(), None);
            let reading = Reading::new(nothing, &none);
            node.constant = Some(node.compute(&reading, &mut ()).into_owned());
        }
        (node, of)
    }

    fn binary(&mut self, operator: Operator, left: &Expr, right: &Expr) -> (Kind, Type) {
        let ((left, l), (right, r)) = (self.node(left), self.node(right));
        let is_dynamic = l == Type::Dynamic || r == Type::Dynamic;
        let wanted = match operator {
            Operator::And | Operator::Or => Some(Type::Bool),
            Operator::Concat => Some(Type::Text),
            operator if operator.is_comparison() || operator == Operator::Coalesce => None,
            _ => Some(Type::Number),
        };
        let is_short = match operator {
            Operator::And | Operator::Or => l != Type::Null && r != Type::Null,
            operator => operator == Operator::Coalesce,
        };
        let (left, right) = match wanted {
            Some(wanted) => (left.must_be(l, wanted), right.must_be(r, wanted)),
            None => (left, right),
        };
        let (left, right) = (Box::new(left), Box::new(right));
        let of = of_binary(operator, l, r).unwrap_or(Type::Undefined);
        (Kind::Binary { operator, is_dynamic, is_short, left, right }, of)
    }

    fn call(&mut self, function: Function, arguments: &[Expr]) -> (Kind, Type) {
        let mut is_dynamic = false;
        let mut nodes = Vec::with_capacity(arguments.len());
        for (at, argument) in arguments.iter().enumerate() {
            let (node, of) = self.node(argument);
            is_dynamic |=
                matches!(of, Type::Dynamic) || of == Type::Bool && function == Function::IsBool;
            nodes.push(match function.wants(at) {
                Wants::Number => node.must_be(of, Type::Number),
                Wants::Text => node.must_be(of, Type::Text),
                Wants::NumberOrText | Wants::Anything => node,
            });
        }
        (Kind::Call { function, is_dynamic, arguments: nodes }, function.gives())
    }
}

impl Node {
    /// Only a body's value can be of another type than is wanted.
    fn must_be(mut self, given: Type, wanted: Type) -> Self {
        self.must_be = (given == Type::Dynamic).then_some(wanted);
        self
    }

    fn depends_on_nothing(&self) -> bool {
        match &self.kind {
            Kind::Literal(_) => true,
            Kind::Name(_) => false,
            Kind::Not(inner) | Kind::Negate(inner) => inner.is_constant(),
            Kind::Binary { left, right, .. } => left.is_constant() && right.is_constant(),
            Kind::Call { arguments, .. } => arguments.iter().all(Node::is_constant),
        }
    }
}

fn value_of(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Undefined => Value::Undefined,
        Literal::Null => Value::Null,
        Literal::Bool(is_true) => Value::Bool(*is_true),
        Literal::Number(Number(number)) => Value::number(*number),
        Literal::Text(text) => Value::Text(text.clone().into()),
    }
}
