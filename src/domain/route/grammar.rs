//! From tokens to a condition: operators by how tight they bind (edgehub.md 2.1), each part checked
//! for its type as soon as it is whole.

use std::ops::Range;

use winnow::Parser;
use winnow::combinator::{Infix, Prefix, cut_err, expression, opt};
use winnow::token::any;

use super::error::Fault;
use super::expr::{Expr, Literal, Name, Number, Operator, UNARY};
use super::function::Function;
use super::hint;
use super::lex::{Kind, Token};
use super::path::BodyPath;
use super::tokens::{
    Failure, Tokens, is_keyword, is_reserved, must, other, peek, peek_two, sign, wrong,
};
use super::types::{Type, of_binary, of_literal, of_name, of_negate, of_not};

/// Stacks are finite: levels of a tree, and of brackets and signs while it is read.
pub(super) const MOST_DEEP: usize = 256;
const MOST_NESTED: usize = 64;

/// A condition, or a part of one, and what is known of it.
pub(super) struct Part {
    pub(super) expr: Expr,
    pub(super) of: Type,
    pub(super) at: Range<usize>,
    /// How many levels it has.
    depth: usize,
}

impl Part {
    fn leaf(expr: Expr, of: Type, at: Range<usize>) -> Self {
        Part { expr, of, at, depth: 1 }
    }

    /// One level above others.
    fn above(depth: usize, expr: Expr, of: Type, at: Range<usize>) -> Result<Self, Failure> {
        if depth >= MOST_DEEP {
            let expected = format!("a condition can have {MOST_DEEP} levels at most");
            let hint = "of a long chain of AND or OR put halves in brackets";
            return Err(wrong(Fault::new(at, expected).hint(hint)));
        }
        Ok(Part { expr, of, at, depth: depth + 1 })
    }
}

/// A whole condition.
pub(super) fn condition<'t>(input: &mut Tokens<'t>) -> Result<Part, Failure> {
    use Infix::Left;
    use Operator::*;
    let prefix = |input: &mut Tokens<'t>| {
        let mut token = any.verify(|t: &&Token<'t>| t.is_sign("-") || t.is_word("NOT"));
        let token: &Token<'t> = token.parse_next(input)?;
        deeper(input, &token.at)?;
        Ok(match token.kind {
            Kind::Word => Prefix(UNARY, (|i: &mut Tokens<'t>, x| not(i, x)) as fn(&mut _, _) -> _),
            _ => Prefix(UNARY, |i: &mut Tokens<'t>, x| negate(i, x)),
        })
    };
    let infix = |input: &mut Tokens<'t>| {
        let mut operator = any.verify_map(|token: &Token<'t>| match token.kind {
            Kind::Sign | Kind::Word => Operator::parse(token.text),
            _ => None,
        });
        let operator: Operator = operator.parse_next(input)?;
        let fold: fn(&mut Tokens<'t>, Part, Part) -> Result<Part, Failure> = match operator {
            Multiply => |_, a, b| binary(Multiply, a, b),
            Divide => |_, a, b| binary(Divide, a, b),
            Remainder => |_, a, b| binary(Remainder, a, b),
            Add => |_, a, b| binary(Add, a, b),
            Subtract => |_, a, b| binary(Subtract, a, b),
            Concat => |_, a, b| binary(Concat, a, b),
            Less => |_, a, b| binary(Less, a, b),
            LessOrEqual => |_, a, b| binary(LessOrEqual, a, b),
            Greater => |_, a, b| binary(Greater, a, b),
            GreaterOrEqual => |_, a, b| binary(GreaterOrEqual, a, b),
            Equal => |_, a, b| binary(Equal, a, b),
            NotEqual => |_, a, b| binary(NotEqual, a, b),
            And => |_, a, b| binary(And, a, b),
            Or => |_, a, b| binary(Or, a, b),
            Coalesce => |_, a, b| binary(Coalesce, a, b),
        };
        Ok(Left(operator.power(), fold))
    };
    expression(operand).prefix(cut_unless_operand(prefix)).infix(infix).parse_next(input)
}

/// Where no prefix stands either, an operand was expected.
fn cut_unless_operand<'t, O>(
    mut prefix: impl Parser<Tokens<'t>, O, Failure>,
) -> impl Parser<Tokens<'t>, O, Failure> {
    move |input: &mut Tokens<'t>| match opt(prefix.by_ref()).parse_next(input)? {
        Some(prefix) => Ok(prefix),
        None => Err(wrong(hint::no_operand(input))),
    }
}

fn deeper(input: &mut Tokens<'_>, at: &Range<usize>) -> Result<(), Failure> {
    input.state += 1;
    if input.state > MOST_NESTED {
        let expected = format!("a condition can be nested {MOST_NESTED} times at most");
        return Err(wrong(Fault::new(at.clone(), expected)));
    }
    Ok(())
}

fn not(input: &mut Tokens<'_>, inner: Part) -> Result<Part, Failure> {
    input.state -= 1;
    match of_not(inner.of) {
        Some(of) => {
            let at = inner.at.clone();
            Part::above(inner.depth, Expr::Not(Box::new(inner.expr)), of, at)
        }
        None => Err(wrong(hint::bad_not(&inner))),
    }
}

fn negate(input: &mut Tokens<'_>, inner: Part) -> Result<Part, Failure> {
    input.state -= 1;
    match of_negate(inner.of) {
        Some(of) => {
            let at = inner.at.clone();
            Part::above(inner.depth, Expr::Negate(Box::new(inner.expr)), of, at)
        }
        None => Err(wrong(hint::bad_negate(&inner))),
    }
}

fn binary(operator: Operator, left: Part, right: Part) -> Result<Part, Failure> {
    let Some(of) = of_binary(operator, left.of, right.of) else {
        return Err(wrong(hint::bad_operands(operator, &left, &right)));
    };
    let at = left.at.start..right.at.end;
    let expr = Expr::Binary(operator, Box::new(left.expr), Box::new(right.expr));
    Part::above(left.depth.max(right.depth), expr, of, at)
}

fn operand<'t>(input: &mut Tokens<'t>) -> Result<Part, Failure> {
    let (token, behind) = peek_two(input);
    let literal = |literal: Literal| {
        let of = of_literal(&literal);
        Ok(Part::leaf(Expr::Literal(literal), of, token.at.clone()))
    };
    match (&token.kind, token.text) {
        (Kind::Sign, "(") => return bracketed(input),
        (Kind::Sign, "{") => return braced(input),
        (Kind::Word, _) if is_keyword(token) => return Err(other(&token.at)),
        (Kind::Word, _) if behind.is_some_and(|t| t.is_sign("(")) && !is_reserved(token) => {
            return call(input);
        }
        (Kind::Sign | Kind::End, _) => return Err(other(&token.at)),
        _ => any.void().parse_next(input)?,
    }
    match (&token.kind, token.text) {
        (Kind::Text(text), _) => literal(Literal::Text(text.clone())),
        (Kind::Number(number), _) => literal(Literal::Number(Number(*number))),
        (_, "true") => literal(Literal::Bool(true)),
        (_, "false") => literal(Literal::Bool(false)),
        (_, "null") => literal(Literal::Null),
        (_, "undefined") => literal(Literal::Undefined),
        _ => {
            let name = name(token, behind, false)?;
            let of = of_name(&name);
            Ok(Part::leaf(Expr::Name(name), of, token.at.clone()))
        }
    }
}

fn bracketed(input: &mut Tokens<'_>) -> Result<Part, Failure> {
    let open = sign("(").parse_next(input)?;
    deeper(input, &open.at)?;
    let inner = condition(input)?;
    input.state -= 1;
    let expected = || hint::NO_BRACKET.to_owned();
    let close = must(sign(")"), expected).parse_next(input)?;
    Ok(Part { at: open.at.start..close.at.end, ..inner })
}

fn braced(input: &mut Tokens<'_>) -> Result<Part, Failure> {
    let open = sign("{").parse_next(input)?;
    let expected = || "expected a system property, as {$userId}".to_owned();
    let system = any.verify(|token: &&Token<'_>| token.kind == Kind::System);
    let token = must(system, expected).parse_next(input)?;
    let name = name(token, None, true)?;
    let close = must(sign("}"), || "expected `}` after the name".to_owned()).parse_next(input)?;
    let of = of_name(&name);
    Ok(Part::leaf(Expr::Name(name), of, open.at.start..close.at.end))
}

fn call(input: &mut Tokens<'_>) -> Result<Part, Failure> {
    let token = any.parse_next(input)?;
    let Some(function) = Function::parse(token.text) else {
        return Err(wrong(hint::no_function(token)));
    };
    deeper(input, &token.at)?;
    sign("(").parse_next(input)?;
    let mut arguments: Vec<Part> = Vec::new();
    if !peek(input).is_sign(")") {
        arguments.push(cut_err(condition).parse_next(input)?);
        while opt(sign(",")).parse_next(input)?.is_some() {
            arguments.push(condition(input)?);
        }
    }
    input.state -= 1;
    let expected = || format!("expected `,` or `)` in the arguments of {}", function.name());
    let close = must(sign(")"), expected).parse_next(input)?;
    let at = token.at.start..close.at.end;
    if let Some(fault) = hint::bad_arguments(function, &arguments, &at) {
        return Err(wrong(fault));
    }
    let depth = arguments.iter().map(|it| it.depth).max().unwrap_or(0);
    let arguments = arguments.into_iter().map(|it| it.expr).collect();
    Part::above(depth, Expr::Call(function, arguments), function.gives(), at)
}

/// What a token names; a name cannot be everything that is lexed like one.
fn name(token: &Token<'_>, behind: Option<&Token<'_>>, is_braced: bool) -> Result<Name, Failure> {
    if let Some(fault) = hint::misread(token, behind) {
        return Err(wrong(fault));
    }
    let Some(bare) = token.text.strip_prefix('$').filter(|_| token.kind == Kind::System) else {
        return Ok(Name::App(token.text.to_owned()));
    };
    let body = bare.get(..5).filter(|it| it.eq_ignore_ascii_case("body.")).map(|_| &bare[5..]);
    if let Some(path) = body {
        let path = BodyPath::parse(path)
            .map_err(|bad| wrong(Fault::new(token.at.clone(), bad.to_string())))?;
        return Ok(if is_braced { Name::BodyOnly(path) } else { Name::Body(path) });
    }
    if bare.contains(['[', ']']) {
        let expected = "`[` and `]` are for places in the body only, as $body.list[0]";
        return Err(wrong(Fault::new(token.at.clone(), expected)));
    }
    let bare = bare.to_owned();
    Ok(if is_braced { Name::System(bare) } else { Name::Either(bare) })
}
