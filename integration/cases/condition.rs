//! Cases of conditions: what is refused, and what the others come to for a message.

use edge_runtime::domain::bag::Bag;
use edge_runtime::domain::identity::Identity;
use edge_runtime::domain::route::case::{self as cases, EDGE, Sample, Verdict as Judged};
use edge_runtime::domain::route::{
    BodyPath, Expr, Function, Inbound, Name, Observer, Operator, Statement, Value as Found,
    evaluate, negate, not, operate, wire_name,
};
use serde_json::{Map, Value};

use super::{Table, Verdict, equal, text};

/// A message of the table.
pub(super) struct Sent {
    pub(super) sample: Sample,
    /// Names of system properties that no message here has, and what stands for them.
    renamed: Vec<(String, &'static str)>,
}

impl Sent {
    /// `None`: no message here has its source.
    pub(super) fn of(table: &Table, name: &str) -> Option<Sent> {
        let mut message = table.0["messages"][name].clone();
        if !["/messages", "/twinChangeNotifications"].contains(&text(&message, "source")) {
            return None;
        }
        let renamed = renamed(message["sys"].as_object().unwrap_or(&Map::new()));
        let other = |name: &str| {
            let bare = name.strip_prefix('$').unwrap_or(name);
            let found = renamed.iter().find(|(old, _)| old == bare);
            found.map_or(name.to_owned(), |(_, new)| name.replace(bare, new))
        };
        for key in ["app", "sys"] {
            let all = message[key].as_object().into_iter().flatten();
            let all = all.map(|(name, value)| (other(name), value.clone())).collect();
            message[key] = Value::Object(all);
        }
        Some(Sent { sample: Sample::read(&message).expect("a message"), renamed })
    }

    pub(super) fn inbound(&self) -> Inbound<'_> {
        self.sample.inbound(EDGE)
    }

    /// The condition with the names that stand for others.
    fn condition(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (old, new) in &self.renamed {
            for old in [old.clone(), old.to_uppercase()] {
                text = text.replace(&format!("${old}"), &format!("${new}"));
            }
        }
        text
    }
}

fn renamed(system: &Map<String, Value>) -> Vec<(String, &'static str)> {
    let mut spare = ["messageId", "cid", "userId", "to", "ack", "creationTime"].into_iter();
    let unknown = system.keys().filter(|name| {
        wire_name(name).is_none() && !name.starts_with('$') && !name.starts_with("connection")
    });
    unknown.filter_map(|name| Some((name.clone(), spare.next()?))).collect()
}

/// What a condition looked at.
#[derive(Default)]
struct Seen {
    has_missing: bool,
    has_date: bool,
}

impl Observer for Seen {
    const EVERY: bool = true;

    fn value(&mut self, _: usize, value: &Found<'_>) {
        match value {
            Found::Missing => self.has_missing = true,
            Found::Text(text) if text.len() >= 19 && text.as_bytes()[10] == b'T' => {
                self.has_date = true;
            }
            _ => {}
        }
    }
}

fn word(truth: Option<bool>) -> &'static str {
    match truth {
        Some(true) => "true",
        Some(false) => "false",
        None => "undefined",
    }
}

fn is_of_body(expr: &Expr) -> bool {
    matches!(expr, Expr::Name(Name::Body(_) | Name::BodyOnly(_)))
}

pub(super) fn condition(table: &Table, case: &Value) -> Verdict {
    let Some(sent) = Sent::of(table, text(case, "message")) else {
        return Verdict::Otherwise("known-sources-only");
    };
    let wanted = text(case, "expect");
    let said = sent.condition(text(case, "condition"));
    if let Ok(Judged::Passed) = cases::condition(&said, &sent.sample, wanted) {
        return Verdict::Pass;
    }
    let expr = match Statement::parse_condition("r", &said) {
        Ok(expr) => expr,
        Err(error) => return Verdict::Fail(error.to_string()),
    };
    let parts = expr.parts();
    let (truth, _) = evaluate(&expr, &sent.inbound(), &mut ());
    if wanted == "compiles_and_evaluates_without_error" {
        return Verdict::Pass;
    }
    let mut seen = Seen::default();
    evaluate(&expr, &sent.inbound(), &mut seen);
    let asks = |wanted: Function| {
        let mut calls = parts.iter().filter_map(|part| match part {
            Expr::Call(function, arguments) if *function == wanted => arguments.first(),
            _ => None,
        });
        calls.any(is_of_body)
    };
    let has = |wanted: fn(&Operator) -> bool| {
        parts.iter().any(|part| match part {
            Expr::Binary(operator, left, right) => {
                wanted(operator) && (is_of_body(left) || is_of_body(right))
            }
            _ => false,
        })
    };
    let is_dynamic = parts.iter().any(|part| is_of_body(part));
    match truth {
        _ if wanted == "compile_error" && case["body_query"] == false && is_dynamic => {
            Verdict::Otherwise("body-queries-are-always-on")
        }
        _ if asks(Function::IsNull) => Verdict::Otherwise("is-null-is-right"),
        _ if seen.has_date && is_dynamic => Verdict::Otherwise("dates-are-texts"),
        _ if seen.has_missing
            && (asks(Function::IsDefined) || has(|it| *it == Operator::Coalesce)) =>
        {
            Verdict::Otherwise("missing-is-not-defined")
        }
        None if has(|it| it.is_comparison()) => Verdict::Otherwise("no-order-between-types"),
        truth => Verdict::Fail(format!("{}, not {wanted}", word(truth))),
    }
}

pub(super) fn constant(case: &Value) -> Verdict {
    let expr = match Statement::parse_condition("r", text(case, "condition")) {
        Ok(expr) => expr,
        Err(error) => return Verdict::Fail(error.to_string()),
    };
    let leaf = Identity::device("leaf").expect("an id");
    let (_, value) = evaluate(&expr, &Inbound::of(&leaf, "edge", &Bag::default(), b""), &mut ());
    is(&value, &case["expect"])
}

/// Not a number is undefined.
fn is(value: &Found<'_>, wanted: &Value) -> Verdict {
    let wanted = match (wanted, wanted.as_str()) {
        (_, Some("+inf")) => Found::Number(f64::INFINITY),
        (_, Some("-inf")) => Found::Number(f64::NEG_INFINITY),
        (_, Some("-0")) => Found::Number(0.0),
        (_, Some("nan" | "undefined")) => Found::Undefined,
        (_, Some("true")) if !matches!(value, Found::Text(_)) => Found::Bool(true),
        (_, Some("false")) if !matches!(value, Found::Text(_)) => Found::Bool(false),
        (_, Some("null")) if *value == Found::Null => Found::Null,
        (wanted, _) => operand(wanted),
    };
    equal(value, &wanted)
}

fn operand(of: &Value) -> Found<'_> {
    match of {
        Value::Number(number) => Found::number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Found::text(text),
        Value::Bool(is_true) => Found::Bool(*is_true),
        of if of["null"] == true => Found::Null,
        of if of["bool"].is_boolean() => Found::Bool(of["bool"] == true),
        _ => Found::Undefined,
    }
}

pub(super) fn operator(case: &Value) -> Verdict {
    let (left, right) = (operand(&case["left"]), operand(&case["right"]));
    let ours = match text(case, "op") {
        "neg" => negate(&left),
        "not" => not(&left),
        op => {
            let op = match op {
                "&" => "AND",
                "|" => "OR",
                op => op,
            };
            let Some(operator) = Operator::parse(op) else {
                return Verdict::Fail(format!("operator `{op}` is not known here"));
            };
            operate(operator, left, right, false)
        }
    };
    is(&ours, &case["expect"])
}

/// Objects have no value in conditions: they stand for undefined.
pub(super) fn dynamic_equality(case: &Value) -> Verdict {
    let of = |kind: &str| {
        let is_other = ["_other", "_different"].iter().any(|end| kind.ends_with(end));
        Some(match kind.split('_').next().unwrap_or_default() {
            "null" => Found::Null,
            "bool" => Found::Bool(!is_other),
            "double" => Found::Number(if is_other { 2.0 } else { 1.0 }),
            "string" => Found::text(if is_other { "b" } else { "a" }),
            "undefined" | "object" => Found::Undefined,
            _ => return None,
        })
    };
    let (left, right) = (text(case, "left_type"), text(case, "right_type"));
    let (Some(l), Some(r)) = (of(left), of(right)) else {
        return Verdict::Fail(format!("{left} and {right} are not known here"));
    };
    let is_equal = operate(Operator::Equal, l, r, true) == Found::Bool(true);
    match case["expect_equal"] == is_equal {
        true => Verdict::Pass,
        false if left == "object" => Verdict::Otherwise("objects-have-no-value"),
        false => Verdict::Fail(format!("{is_equal}")),
    }
}

pub(super) fn json_path(case: &Value) -> Verdict {
    equal(&BodyPath::parse(text(case, "path")).is_ok(), &(text(case, "expect") == "valid"))
}

pub(super) fn body_query(table: &Table, case: &Value) -> Verdict {
    let Some(sent) = Sent::of(table, text(case, "message")) else {
        return Verdict::Otherwise("known-sources-only");
    };
    let path = format!("$body.{}", text(case, "path"));
    let (Ok(path), Ok(implied)) = (
        Statement::parse_condition("r", &path),
        Statement::parse_condition("r", text(case, "implied_condition")),
    ) else {
        return Verdict::Fail("a condition that is refused".into());
    };
    let (_, value) = evaluate(&path, &sent.inbound(), &mut ());
    let (truth, _) = evaluate(&implied, &sent.inbound(), &mut ());
    let wanted = match text(case, "expect").starts_with("error:") {
        true => Found::Undefined,
        false => operand(&case["expect"]),
    };
    equal(&(value, word(truth)), &(wanted, text(case, "implied_result")))
}
