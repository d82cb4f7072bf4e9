//! What conditions come to: the same as in the reference, but where docs/differences.md says so.

use super::*;
use crate::domain::route::Value;

const BAG: &str = "Key1=value1&key2=3&empty&Name=%EC%84%9C%EC%9A%B8&%24mid=own&%24.mid=7&%24.uid=u\
                   &e5=x&sensor-id=a&a.b=c&load%251=d&I'm=e&Welcome!=f&x%26y=g&big=1%2C234.5";

#[track_caller]
fn is(condition: &str, wanted: Option<bool>) {
    let expr = Statement::parse_condition("r", condition).unwrap();
    let (sender, bag) = (Identity::parse("gw/m").unwrap(), Bag::parse(BAG).unwrap());
    let message = Inbound::of(&sender, "gw", &bag, b"");
    assert_eq!(evaluate(&expr, &message, &mut ()).0, wanted, "{condition}");
}

#[track_caller]
fn holds(condition: &str) {
    is(condition, Some(true));
}

#[test]
fn names_mean_properties() {
    holds("KEY1 = 'value1'");
    is("key1 = 'VALUE1'", Some(false));
    holds("$mid = 'own' AND {$messageId} = '7' AND { $MessageId } = '7' AND $userid = 'u'");
    holds("$connectionModuleId = 'm' AND {$connectionDeviceId} = 'gw'");
    holds("이름 = '부산' OR name = '서울'");
    holds("e5 = 'x' AND sensor-id = 'a' AND a.b = 'c' AND load%1 = 'd' AND I'm = 'e'");
    holds("Welcome! = 'f' AND x&y = 'g'");
    is("none = 'x'", None);
    is("NOT (none = 'x')", None);
    is("empty = 'x'", None);
    is("$none = 'x' OR key1 = 'value1'", Some(true));
}

#[test]
fn a_missing_or_empty_property_is_told_from_one_with_a_value() {
    holds("is_defined(empty) AND is_null(empty) AND NOT is_string(empty)");
    holds("NOT is_defined(none) AND NOT is_null(none)");
    holds("(none ?? 'x') = 'x' AND (key1 ?? 'x') = 'value1'");
    holds("concat('a', empty, key1) = 'avalue1' AND 'a' || empty = 'a'");
    is("concat('a', none) = 'a'", None);
    is("as_number(none) > 1", None);
    is("as_number(key1) > 1", None);
}

#[test]
fn operators_bind_as_in_the_reference() {
    holds("1 + 2 * 3 = 7 AND (1 + 2) * 3 = 9 AND 10 - 4 - 3 = 3 AND 8 / 4 / 2 = 1");
    holds("1 + 1 < 3 = true");
    holds("NOT false AND true");
    is("true OR true AND false", Some(true));
    holds("'a' || 'b' = 'ab'");
    holds("- 2 * - 3 = 6 AND -2 - -3 = 1");
    holds("7 % 4 = 3 AND -7 % 4 = -3");
    holds("(none ?? key1 ?? 'x') = 'value1'");
    holds("3/3 = 1 AND 5 > 4 AND 4<5 AND 4<=4 AND 4<>5 AND 4 !=5");
}

#[test]
fn literals_are_read_in_all_their_forms() {
    holds("0xDeadBeef = 3735928559 AND 0X10 = 16 AND 1.5e1 = 15 AND .5 = 0.5 AND 1e-1 = 0.1");
    holds(r#"'it\'s' = "it's" AND "\u00fc\uD83D\uDE00" = 'ü😀' AND '\\' = "\\""#);
    holds("10e1000 = 1/0 AND -10e1000 < 0");
    holds("/* of old */ key1 = 'value1' /* and new */");
    is("3", None);
    is("'true'", None);
    is("null", Some(false));
    is("", None);
}

#[test]
fn what_has_no_answer_is_undefined() {
    is("1 % 0 = 1", None);
    is("undefined AND true", None);
    is("undefined AND false", Some(false));
    is("undefined OR true", Some(true));
    is("sqrt(-1) > 0", None);
    is("substring('abc', 4) = 'c'", None);
    is("substring('abc', -1, 1) = 'c'", None);
    holds("is_defined(1 / 0) AND NOT is_number(1 / 0) AND NOT is_defined(0 / 0)");
}

#[test]
fn functions_do_what_they_are_called() {
    holds("abs(-2) = 2 AND exp(0) = 1 AND power(2, 3) = 8 AND square(-3) = 9 AND sqrt(9) = 3");
    holds("ceiling(1.1) = 2 AND floor(-1.1) = -2 AND sign(-5) = -1 AND sign(0) = 0");
    holds("as_number(big) = 1234.5 AND as_number(' +2 ') = 2 AND as_number('-1e2') = -100");
    is("as_number('inf') = 1/0", None);
    is("as_number('0x10') = 16", None);
    holds("is_bool(true) AND is_number(1) AND is_string('a') AND NOT is_bool('a')");
    holds("length('abc') = 3 AND LOWER('ABC') = 'abc' AND upper('straße') = 'STRAßE'");
    holds("substring('hello', 1, 3) = 'ell' AND substring('hello', 2) = 'llo'");
    holds("index_of('hello', 'l') = 2 AND index_of('hello', 'x') = -1");
    holds("starts_with(key1, 'val') AND ends_with(key1, '1') AND contains(key1, 'lu')");
    holds("concat('a', 'b', 'c', 'd', 'e') = 'abcde'");
}

#[test]
fn texts_are_counted_and_ordered_by_utf16_units() {
    holds("length('서울') = 2 AND length('😀') = 2 AND index_of('😀울', '울') = 2");
    holds("substring(name, 1) = '울' AND substring('a😀b', 3) = 'b'");
    is("substring('a😀b', 2) = 'b'", None);
    holds("'a' < 'b' AND 'Z' < 'a' AND '가' < '나' AND '😀' < '\u{ffee}'");
}

/// The parts that a watcher is told of, and what they come to.
struct Told(Vec<(usize, String)>);

impl Observer for Told {
    const EVERY: bool = true;

    fn value(&mut self, part: usize, value: &Value<'_>) {
        self.0.push((part, format!("{value:?}")));
    }
}

#[test]
fn every_part_is_told_to_whoever_watches() {
    let expr = Statement::parse_condition("r", "none = 'x' AND NOT (1 + 2 = 3)").unwrap();
    let (sender, bag) = (Identity::parse("leaf").unwrap(), Bag::default());
    let message = Inbound::of(&sender, "gw", &bag, b"");
    let mut told = Told(Vec::new());
    assert_eq!(evaluate(&expr, &message, &mut told).0, Some(false));
    told.0.sort();
    let parts = expr.parts();
    let shown: Vec<_> = told.0.iter().map(|(at, v)| format!("{} is {v}", parts[*at])).collect();
    assert_eq!(
        shown,
        [
            "none = \"x\" AND NOT (1 + 2 = 3) is Bool(false)",
            "none = \"x\" is Undefined",
            "none is Undefined",
            "\"x\" is Text(\"x\")",
            "NOT (1 + 2 = 3) is Bool(false)",
            "1 + 2 = 3 is Bool(true)",
            "1 + 2 is Number(3.0)",
            "1 is Number(1.0)",
            "2 is Number(2.0)",
            "3 is Number(3.0)",
        ]
    );
}
