//! What is said of mistakes: the place, what was expected, what to write instead.

use super::*;

#[track_caller]
fn fails(text: &str, line: u32, column: u32, found: &str, part: &str) {
    let error = Statement::parse("r1", text).unwrap_err();
    let place = (error.line, error.column, error.found.as_str());
    assert_eq!(place, (line, column, found), "{error}");
    assert!(error.to_string().contains(part), "{error}");
    assert!(error.to_string().starts_with("route `r1`"), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    fails("FORM /messages INTO $upstream", 1, 1, "`FORM`", "expected FROM");
    fails("", 1, 1, "the end", "expected FROM");
    fails("SELECT FROM /messages INTO $upstream", 1, 8, "`FROM`", "`*` after SELECT");
    fails("FROM INTO $upstream", 1, 6, "`INTO`", "expected a source");
    fails("FROM /messages $upstream", 1, 16, "`$upstream`", "expected WHERE or INTO");
    fails("FROM /messages INTO $upstream x y ", 1, 31, "`x y`", "nothing more");
    fails("FROM /messages INTO upstream", 1, 21, "`upstream`", "expected $upstream");
    fails("FROM /messages\n  INTO\n", 3, 1, "the end", "expected $upstream");
    fails(
        "FROM /deviceLifecycleEvents INTO $upstream",
        1,
        6,
        "`/deviceLifecycleEvents`",
        "only the cloud hub",
    );
    fails("FROM /foo INTO $upstream", 1, 6, "`/foo`", "no message has this source");
    fails("FROM /messages/mod* INTO $upstream", 1, 6, "`/messages/mod*`", "no message");
    fails(
        "FROM /messages/modules/*/outputs/o INTO $upstream",
        1,
        6,
        "`/messages/modules/*/outputs/o`",
        "only stand at the end",
    );
    fails("FROM /messages WHERE INTO $upstream", 1, 22, "`INTO`", "expected a value");
    fails("FROM /* WHERE IS_DEFINED({a}) INTO $upstream", 1, 27, "`a`", "{$userId}");
    fails("FROM /* INTO BrokeredEndpoint(\"/m\")", 1, 31, "`\"/m\"`", "/modules/MODULE");
    fails("FROM /* INTO BrokeredEndpoint(\"/m)", 1, 31, "`\"/m)`", "not closed");
    fails("FROM /* INTO BrokeredEndpoint(\"/\\n\")", 1, 31, "`\"/\\n\")`", "escape");
    fails("FROM /* WHERE IS_DEFINED('a) INTO $upstream", 1, 26, "`'a`", "not closed");
    fails("FROM /messages/* WHERE x /* y */ INTO $upstream", 1, 15, "`/*`", "of the clause behind");
    fails("FROM /* INTO BrokeredEndpoint(\"/a/*/b/c\")", 1, 6, "`/*`", "of the clause behind");
    fails("FROM /messages INTO \n$upstream\t\nx\n", 3, 1, "`x`", "nothing more");
    fails("FROM /messages\nWHERE é; INTO $upstream", 2, 8, "`;`", "no meaning");
}

#[test]
fn the_place_of_an_error_is_marked_under_its_line() {
    let error = Statement::parse("r", "FROM /messages\nWHERE ü AND b INTO $upstream").unwrap_err();
    assert_eq!(error.marked(), "WHERE ü AND b INTO $upstream\n      ^^^^^^^");
}

/// In the condition; `marked` is what is marked of it.
#[track_caller]
fn refuses(condition: &str, marked: &str, expected: &str, suggestion: &str) {
    let text = format!("FROM /messages\nWHERE {condition}\nINTO $upstream");
    let error = Statement::parse("r", &text).unwrap_err();
    let said = error.suggestion.clone().unwrap_or_default();
    assert_eq!((error.line, error.found.as_str()), (2, format!("`{marked}`").as_str()), "{error}");
    assert!(error.expected.contains(expected), "{error}");
    assert_eq!(&*said, suggestion, "{error}");
    let carets = error.marked().lines().nth(1).unwrap().trim().len();
    assert_eq!(carets, marked.lines().next().unwrap().chars().count(), "{}", error.marked());
}

#[test]
fn a_mistake_in_a_condition_comes_with_what_to_write_instead() {
    refuses("a == 'b'", "=", "expected a value", "write `=` for `==`");
    refuses("as_number(a) => 5", ">", "expected a value", "write `>=` for `=>`");
    refuses("a = 'b' && c = 'd'", "&&", "expected an operator", "write AND");
    refuses("a = 'b'&&c = 'd'", "'b'&&c", "one name", "put a space behind the string in quotes");
    refuses("a&&b", "a&&b", "one name", "write AND for `&&`, with spaces");
    refuses("a || b = 'c' | d", "|", "expected an operator", "write OR; `||` joins texts");
    refuses("'a'||b = 'ac'", "'a'||b", "one name", "put a space behind the string in quotes");
    refuses("a||b = 'ac'", "a||b", "one name", "put spaces around `||`");
    refuses("a!='b'", "a!", "one name", "put a space: `a !=`");
    refuses("!is_defined(a)", "!is_defined", "no such function", "did you mean is_defined?");
    refuses("!a", "!a", "one name", "write NOT a");
    refuses(
        "5 -2 = 3",
        "-2",
        "expected an operator",
        "`-2` is one number: write `- 2` with a space",
    );
    refuses("as_number(a)*2 > 5", "*2", "one name", "put a space behind `*`");
    refuses("$body.a*2 > 5", "$body.a*2", "one name", "put spaces around `*`");
    refuses("$body.a+$body.b > 5", "$body.a+$body.b", "one name", "put spaces around `+`");
    refuses("1+2 = 3", "1+2", "one name", "put spaces around `+`");
    refuses("starts_wiht(a, 'b')", "starts_wiht", "no such function", "did you mean starts_with?");
    refuses("len(a) = 3", "len", "no such function", "did you mean length?");
    refuses("a = 'b' ADN c = 'd'", "ADN", "expected an operator", "did you mean AND?");
    refuses("a LIKE 'b%'", "LIKE", "operator", "there are contains, starts_with and ends_with");
    refuses("a IN ('b')", "IN", "expected an operator", "write x = 'a' OR x = 'b'");
    refuses("a = 'b' = true)", ")", "expected an operator", "there is no `(` to this `)`");
    refuses(
        "from = 'x'",
        "from",
        "expected a value",
        "FROM is a word of the language; a property of this name cannot be used",
    );
    refuses(
        "temp > 100",
        "temp > 100",
        "`>` takes two values of one type, not a text and a number",
        "write as_number(temp) > 100",
    );
    refuses("2 <= temp", "2 <= temp", "not a number and a text", "write 2 <= as_number(temp)");
    refuses("as_number(a) = '5'", "as_number(a) = '5'", "one type", "write as_number(a) = 5");
    refuses("on = true", "on = true", "not a text and a truth value", "write on = 'true'");
    refuses("a = null", "a = null", "not a text and null", "write is_null(a)");
    refuses("a != undefined", "a != undefined", "not a text and undefined", "write is_defined(a)");
    refuses(
        "a AND b = 'c'",
        "a AND b = 'c'",
        "truth values",
        "write a = 'value', or is_defined(a)",
    );
    refuses("a + 1 = 2", "a + 1", "numbers, not a text and a number", "write as_number(a) + 1");
    refuses("a + b = 'c'", "a + b", "numbers", "write a || b to join texts");
    refuses("(a ?? 1) = 1", "a ?? 1", "values of one type", "");
    refuses("abs(a) = 1", "a", "first argument of abs must be a number", "write as_number(a)");
    refuses("contains(a) ", "contains(a)", "contains takes 2 arguments, not 1", "");
    refuses("substring(a, 1, 2, 3) = 'b'", "substring(a, 1, 2, 3)", "2 to 3 arguments, not 4", "");
    refuses("concat('a') = 'a'", "concat('a')", "2 arguments or more, not 1", "");
    refuses(
        "NOT a = 'b'",
        "a",
        "NOT takes a truth value, not a text",
        "NOT binds tighter than `=`: put brackets behind it, as NOT (a = 'b')",
    );
    refuses("- a = 1", "a", "`-` takes a number", "write - as_number(a)");
    refuses(
        "$twin.properties.reported.t > 1",
        "$twin.properties.reported.t",
        "only the cloud hub",
        "changes of reported properties come from /twinChangeNotifications: there write $body.t",
    );
    refuses("$systemProperties.cid = 'a'", "$systemProperties.cid", "no prefix", "write $cid");
    refuses("$body.a[] = 1", "$body.a[]", "one index in brackets", "");
    refuses("$body.*  = 1", "$body.*", "no wildcards", "");
    refuses("$list[0] = 1", "$list[0]", "places in the body only", "");
    refuses("a = 0x11112222333344445", "0x11112222333344445", "16 digits", "");
    refuses("온도 > 30", "온도 > 30", "a text and a number", "write as_number(온도) > 30");
}

#[test]
fn mistakes_beside_the_condition_come_with_what_to_write_instead() {
    let suggests = |text: &str, wanted: &str| {
        let error = Statement::parse("r", text).unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some(wanted), "{error}");
        assert!(error.to_string().ends_with(wanted), "{error}");
    };
    suggests("FORM /messages INTO $upstream", "did you mean FROM?");
    suggests("FROM /messages ITNO $upstream", "did you mean INTO?");
    suggests("FROM /messages WHRE a = 'b' INTO $upstream", "did you mean WHERE?");
    suggests("FROM /message/* INTO $upstream", "did you mean /messages?");
    suggests("FROM /messages INTO $upstraem", "did you mean $upstream?");
    suggests("FROM /messages INTO upstream", "did you mean $upstream?");
    suggests("FROM /messages INTO BrokerdEndpoint('/a/b/c/d')", "did you mean BrokeredEndpoint?");
    suggests("FROM /messages INTO $upstream WHERE a = 'b'", "WHERE stands before INTO");
    suggests("FROM /messages INTO $upstream;", "a route ends without a semicolon");
    let error = Statement::parse("r", "FROM /messages WHERE a = 'b'").unwrap_err();
    assert_eq!((error.found.as_str(), error.column), ("the end", 29), "{error}");
    assert!(error.expected.ends_with("or INTO"), "{error}");
}

#[test]
fn an_error_is_json_too_and_is_read_back() {
    let error = Statement::parse("r", "FROM /* WHERE temp > 5 INTO $upstream").unwrap_err();
    let value = serde_json::to_value(&error).unwrap();
    assert_eq!(
        value,
        json!({
            "route": "r", "line": 1, "column": 15, "found": "`temp > 5`", "width": 8,
            "expected": "`>` takes two values of one type, not a text and a number",
            "source_line": "FROM /* WHERE temp > 5 INTO $upstream",
            "suggestion": "write as_number(temp) > 5", "kind": "types",
        })
    );
    assert_eq!(serde_json::from_value::<RouteError>(value).unwrap(), error);
    let old = json!({"route": "r", "line": 0, "column": 0, "found": "", "expected": "",
                     "source_line": "", "width": 0});
    assert!(serde_json::from_value::<RouteError>(old).is_ok(), "as an older version stored it");
}

#[test]
fn a_mark_is_as_wide_as_what_stands_above_it() {
    let error = Statement::parse("r", "FROM / WHERE 온도 = 5 INTO $upstream").unwrap_err();
    assert_eq!(error.marked().lines().nth(1), Some("             ^^^^^^"));
    let error = Statement::parse("r", "FROM / WHERE 온도 = 'a' WEHRE INTO $upstream").unwrap_err();
    assert_eq!(error.marked().lines().nth(1), Some("             \u{3000}\u{3000}       ^^^^^"));
}

#[test]
fn nesting_has_a_bound() {
    let of = |part: &str, count: usize, end: &str, last: &str| {
        let text = format!("{}{end}{}", part.repeat(count), last.repeat(count));
        Statement::parse_condition("r", &text)
    };
    assert!(of("(", 64, "true", ")").is_ok());
    assert!(of("NOT ", 64, "true", "").is_ok());
    assert!(of("true OR ", 250, "true", "").is_ok());
    for (part, end, last) in [
        ("(", "true", ")"),
        ("NOT ", "true", ""),
        ("- ", "1", ""),
        ("abs(", "1", ")"),
        ("true OR ", "true", ""),
        ("1 + ", "1", ""),
        ("NOT (", "true", ")"),
        ("(", "", ""),
        ("$body.a ?? ", "1", ""),
    ] {
        let error = of(part, 30_000 / (part.len() + last.len()), end, last).unwrap_err();
        assert!(error.expected.contains("at most"), "{part}: {error}");
    }
    let error = of("a = 'b' OR ", 3_000, "true", "").unwrap_err();
    assert!(error.expected.contains("32768 bytes"), "{error}");
    let deep = format!("$body.{}a = 1", "a.".repeat(64));
    let error = Statement::parse_condition("r", &deep).unwrap_err();
    assert!(error.expected.contains("64 names deep"), "{error}");
}
