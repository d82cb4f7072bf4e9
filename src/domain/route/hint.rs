//! What to say of a mistake: what was expected, and what to write instead.

use std::ops::Range;

use super::error::Fault;
use super::expr::{Expr, Literal, Name, Number, Operator};
use super::function::{Function, Wants};
use super::grammar::Part;
use super::lex::{Kind, Token};
use super::tokens::{Tokens, is_keyword, last, peek, peek_two};
use super::types::Type;
use crate::domain::nearest::nearest;

pub(super) const NO_BRACKET: &str = "expected `)`, or an operator as `=` or AND";

/// What stands where an operand should.
pub(super) fn no_operand(input: &Tokens<'_>) -> Fault {
    let token = peek(input);
    let fault = Fault::new(
        token.at.clone(),
        "expected a value: a property, $body.name, a text in quotes, a number, a function",
    );
    match (last(input), token.text) {
        (Some(before), "=") if before.text == "=" => fault.hint("write `=` for `==`"),
        (Some(before), ">") if before.text == "=" => fault.hint("write `>=` for `=>`"),
        (Some(before), "<") if before.text == "=" => fault.hint("write `<=` for `=<`"),
        (_, word) if is_keyword(token) => fault.hint(format!(
            "{} is a word of the language; a property of this name cannot be used",
            word.to_uppercase()
        )),
        _ => fault,
    }
}

/// What stands behind a condition that is not `INTO` (or the end).
pub(super) fn after_condition(input: &Tokens<'_>, expected: &str) -> Fault {
    let (token, behind) = peek_two(input);
    let operator = "expected an operator, as `=` or AND, or ";
    let fault = Fault::new(token.at.clone(), format!("{operator}{expected}"));
    if let Some(misread) = misread(token, behind) {
        return misread;
    }
    match (&token.kind, token.text.to_lowercase().as_str()) {
        (Kind::Number(_), text) if text.starts_with('-') => {
            fault.hint(format!("`{text}` is one number: write `- {}` with a space", &text[1..]))
        }
        (Kind::Word, "&" | "&&") => fault.hint("write AND"),
        (Kind::Word, "|") => fault.hint("write OR; `||` joins texts"),
        (Kind::Word, "!") => fault.hint("write `!=`, or NOT"),
        (Kind::Word, "like") => fault.hint("there are contains, starts_with and ends_with"),
        (Kind::Word, "in") => fault.hint("write x = 'a' OR x = 'b'"),
        (Kind::Word, "between") => fault.hint("write x >= 1 AND x <= 9"),
        (Kind::Word, "is") => fault.hint("there are is_defined, is_null, is_string, is_number"),
        (Kind::Word, word) => {
            let near = nearest(word, ["AND", "OR", "INTO"].into_iter());
            fault.hint_if(near.map(|word| format!("did you mean {word}?")))
        }
        (Kind::Sign, ")") => fault.hint("there is no `(` to this `)`"),
        _ => fault,
    }
}

/// What is lexed as one name, and was hardly meant as one: operators need spaces.
pub(super) fn misread(token: &Token<'_>, behind: Option<&Token<'_>>) -> Option<Fault> {
    let text = token.text;
    let fault = |expected: String| Fault::new(token.at.clone(), expected);
    let one_name = |sign: &str| {
        fault(format!("`{text}` is read as one name")).hint(format!("put spaces around `{sign}`"))
    };
    let is_word = token.kind == Kind::Word;
    if !is_word && token.kind != Kind::System {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix("$twin.") {
        let hint = "changes of reported properties come from /twinChangeNotifications";
        let rest = rest.strip_prefix("properties.reported.").unwrap_or(rest);
        let fault = fault("only the cloud hub has $twin here".to_owned());
        return Some(fault.hint(format!("{hint}: there write $body.{rest}")));
    }
    if lower.starts_with("$systemproperties.") {
        let fault = fault("system properties have no prefix".to_owned());
        return Some(fault.hint(format!("write ${}", &text["$systemproperties.".len()..])));
    }
    if let Some(rest) = text.strip_prefix('\'') {
        return Some(match rest.contains('\'') {
            true => fault(format!("`{text}` is read as one name"))
                .hint("put a space behind the string in quotes"),
            false => fault("this string is not closed".to_owned()).hint("write ' at its end"),
        });
    }
    if matches!(text, "&" | "&&" | "|" | "!") {
        return None; // told where it stands
    }
    if let Some(sign) = ["&&", "||"].into_iter().find(|sign| text.contains(sign)) {
        let word =
            if sign == "&&" { "write AND for `&&`, with spaces" } else { "put spaces around `||`" };
        return Some(one_name(sign).hint(word));
    }
    if let Some(bare) = text.strip_suffix('!')
        && behind.is_some_and(|t| t.text == "=" && t.at.start == token.at.end)
    {
        return Some(one_name("!=").hint(format!("put a space: `{bare} !=`")));
    }
    if is_word && lower.starts_with("0x") && lower[2..].bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(fault("this number is too large: at most 16 digits behind 0x".to_owned()));
    }
    if is_word && let Some(sign) = text.chars().next().filter(|c| "+-*%!".contains(*c)) {
        let hint = match sign {
            '!' => format!("write NOT {}", &text[1..]),
            sign => format!("put a space behind `{sign}`"),
        };
        return Some(one_name("").hint(hint));
    }
    let is_number = |part: &str| !part.is_empty() && part.parse::<f64>().is_ok();
    for (at, sign) in text.char_indices().filter(|(_, c)| "+-*%".contains(*c)) {
        let (left, right) = (&text[..at], &text[at + 1..]);
        // A sum with a number; `sensor-1` and `load%1` are names.
        let is_sum = match sign {
            '+' | '*' => is_number(right) || right.starts_with('$') || is_number(left),
            _ => is_number(left) && is_number(right) || right.starts_with('$'),
        };
        if is_sum && !(sign == '+' && left.ends_with(['e', 'E'])) {
            return Some(one_name(&sign.to_string()));
        }
    }
    None
}

/// There is no function of this name.
pub(super) fn no_function(token: &Token<'_>) -> Fault {
    let name = token.text.to_lowercase();
    let fault = Fault::new(token.at.clone(), "there is no such function");
    let known = match name.as_str() {
        "twin_change_includes" => {
            return fault.hint("write FROM /twinChangeNotifications WHERE is_defined($body.name)");
        }
        "as_string" | "to_string" | "str" => {
            return fault.hint("properties are texts already; numbers have no text here");
        }
        "to_number" | "number" | "int" | "float" | "cast" => Some("as_number"),
        "round" | "ceil" => Some("ceiling"),
        "pow" => Some("power"),
        "len" | "strlen" | "size" => Some("length"),
        "tolower" | "lcase" => Some("lower"),
        "toupper" | "ucase" => Some("upper"),
        "substr" => Some("substring"),
        "isnull" => Some("is_null"),
        "indexof" | "instr" => Some("index_of"),
        name => nearest(name, Function::all().map(Function::name)),
    };
    let all = || {
        format!("there are {}", Function::all().map(Function::name).collect::<Vec<_>>().join(", "))
    };
    fault.hint(known.map_or_else(all, |name| format!("did you mean {name}?")))
}

/// What is wrong with the arguments of a function, if anything is.
pub(super) fn bad_arguments(
    function: Function,
    arguments: &[Part],
    at: &Range<usize>,
) -> Option<Fault> {
    let (least, most) = function.arity();
    let count = arguments.len();
    if !(least..=most).contains(&count) {
        let wanted = match (least, most) {
            (least, usize::MAX) => format!("{least} arguments or more"),
            (1, 1) => "1 argument".to_owned(),
            (least, most) if least == most => format!("{least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        let expected = format!("{} takes {wanted}, not {count}", function.name());
        return Some(Fault::types(at.clone(), expected));
    }
    let mut all = arguments.iter().enumerate();
    let (at, bad) = all.find(|(at, it)| !function.wants(*at).takes(it.of))?;
    let wants = function.wants(at);
    let which = ["first", "second", "third"].get(at).copied().unwrap_or("next");
    let expected = format!(
        "the {which} argument of {} must be {}, not {}",
        function.name(),
        wants.text(),
        bad.of.text()
    );
    let hint = (wants == Wants::Number).then(|| as_number(bad)).flatten();
    Some(Fault::types(bad.at.clone(), expected).hint_if(hint.map(|it| format!("write {it}"))))
}

/// `NOT` of what is neither true nor false.
pub(super) fn bad_not(inner: &Part) -> Fault {
    let expected = format!("NOT takes a truth value, not {}", inner.of.text());
    let fault = Fault::types(inner.at.clone(), expected);
    match inner.of {
        Type::Text | Type::Number => {
            fault.hint("NOT binds tighter than `=`: put brackets behind it, as NOT (a = 'b')")
        }
        _ => fault,
    }
}

/// `-` of what is no number.
pub(super) fn bad_negate(inner: &Part) -> Fault {
    let expected = format!("`-` takes a number, not {}", inner.of.text());
    let hint = as_number(inner).map(|it| format!("write - {it}"));
    Fault::types(inner.at.clone(), expected).hint_if(hint)
}

/// Operands that do not go together.
pub(super) fn bad_operands(operator: Operator, left: &Part, right: &Part) -> Fault {
    let sign = operator.text();
    let given = format!("not {} and {}", left.of.text(), right.of.text());
    let fault = |wanted: &str| {
        Fault::types(left.at.start..right.at.end, format!("`{sign}` takes {wanted}, {given}"))
    };
    let rewritten = |left: String, right: String| format!("write {left} {sign} {right}");
    let (shown, other) = (left.expr.to_string(), right.expr.to_string());
    let numbers = || {
        let left = if left.of == Type::Text { as_number(left)? } else { shown.clone() };
        let right = if right.of == Type::Text { as_number(right)? } else { other.clone() };
        Some(rewritten(left, right))
    };
    let hint = match (operator, left.of, right.of) {
        (Operator::And | Operator::Or, ..) => {
            let bad = if left.of == Type::Text || left.of == Type::Number { left } else { right };
            let fault = fault("truth values");
            return match &bad.expr {
                Expr::Name(name) => {
                    fault.hint(format!("write {name} = 'value', or is_defined({name})"))
                }
                _ => fault,
            };
        }
        (Operator::Concat, ..) => return fault("texts"),
        (Operator::Add, Type::Text, Type::Text) => {
            Some(format!("write {shown} || {other} to join texts"))
        }
        (Operator::Coalesce, ..) => return fault("values of one type"),
        (_, Type::Text, Type::Number) | (_, Type::Number, Type::Text) => numbers(),
        (Operator::Equal | Operator::NotEqual, Type::Text, Type::Bool) => {
            Some(rewritten(shown.clone(), format!("'{other}'")))
        }
        (Operator::Equal | Operator::NotEqual, _, Type::Null) => {
            let not = if operator == Operator::NotEqual { "NOT " } else { "" };
            Some(format!("write {not}is_null({shown})"))
        }
        (Operator::Equal | Operator::NotEqual, _, Type::Undefined) => {
            let not = if operator == Operator::Equal { "NOT " } else { "" };
            Some(format!("write {not}is_defined({shown})"))
        }
        _ if !operator.is_comparison() => numbers(),
        _ => None,
    };
    let wanted = if operator.is_comparison() { "two values of one type" } else { "numbers" };
    fault(wanted).hint_if(hint)
}

/// How a text is made a number.
fn as_number(part: &Part) -> Option<String> {
    match (&part.expr, part.of) {
        (Expr::Literal(Literal::Text(text)), _) => {
            let number = text.trim().parse::<f64>().ok().filter(|n| n.is_finite())?;
            Some(Literal::Number(Number(number)).to_string())
        }
        (Expr::Name(Name::Body(_) | Name::BodyOnly(_)), _) => None,
        (expr, Type::Text) => Some(format!("as_number({expr})")),
        _ => None,
    }
}
