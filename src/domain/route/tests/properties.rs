//! Properties: printing and parsing, watching and not watching, one delivery for an endpoint.

use proptest::prelude::*;

use super::*;
use crate::domain::route::Value;

fn source() -> impl Strategy<Value = String> {
    let (id, output) = ("[a-zA-Z0-9_.$-]{1,5}x", "[a-zé.]{1,5}x");
    prop_oneof![
        Just("/*".to_owned()),
        Just("/messages".to_owned()),
        Just("/twinChangeNotifications/*".to_owned()),
        id.prop_map(|id| format!("/messages/modules/{id}")),
        (id, output).prop_map(|(id, output)| format!("/messages/modules/{id}/outputs/{output}")),
    ]
}

fn sink() -> impl Strategy<Value = Sink> {
    let input = ("[a-zA-Z0-9.%_*?!(),:=@$'-]{1,9}", "[ a-zé\"'\\\\(){};]{1,9}");
    prop_oneof![
        Just(Sink::Upstream),
        input.prop_map(|(module, input)| Sink::Input { module, input }),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    // Not a word of the language, and not what begins with an operator.
    let name = "[a-dA-Dé_온][a-zA-Zé_.-]{0,5}x";
    let path = "[a-cé온%'!-]{1,3}(\\[[0-9]\\])?(\\.[a-c]{1,3}(\\[[0-9]\\])?){0,2}";
    let path = path.prop_map(|path| BodyPath::parse(&path).unwrap());
    prop_oneof![
        3 => "[abc]".prop_map(Name::App),
        1 => name.prop_map(Name::App),
        1 => name.prop_map(Name::Either),
        1 => Just(Name::Either("messageId".into())),
        1 => name.prop_map(Name::System),
        2 => "[abc](\\[[01]\\])?".prop_map(|path| Name::Body(BodyPath::parse(&path).unwrap())),
        1 => path.clone().prop_map(Name::Body),
        1 => path.prop_map(Name::BodyOnly),
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    let number = prop_oneof![
        (-9i32..9).prop_map(f64::from),
        any::<f64>().prop_filter("no literal", |n| !n.is_nan()),
        Just(-0.0),
    ];
    prop_oneof![
        Just(Literal::Undefined),
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        number.prop_map(|number| Literal::Number(Number(number))),
        "[ab]|[ -~é온\n😀]{0,6}".prop_map(Literal::Text),
    ]
}

/// Conditions that have a type; what has none is left out bottom up.
fn expr() -> impl Strategy<Value = Expr> {
    let leaf =
        prop_oneof![2 => name().prop_map(Expr::Name), 1 => literal().prop_map(Expr::Literal)];
    let operator = (0..Operator::ALL.len()).prop_map(|at| Operator::ALL[at].1);
    let function = (0..Function::all().count()).prop_map(|at| Function::all().nth(at).unwrap());
    leaf.prop_recursive(5, 40, 3, move |inner| {
        let binary = (operator.clone(), inner.clone(), inner.clone());
        let call = (function.clone(), prop::collection::vec(inner.clone(), 1..4));
        let number = |expr: Expr| Expr::Call(Function::AsNumber, vec![expr]);
        let alike = (operator.clone(), inner.clone(), inner.clone());
        prop_oneof![
            1 => inner.clone().prop_map(|x| Expr::Not(Box::new(x))),
            1 => inner.clone().prop_map(move |x| Expr::Negate(Box::new(number(x)))),
            4 => binary.prop_map(|(op, x, y)| Expr::Binary(op, Box::new(x), Box::new(y))),
            2 => alike.prop_map(move |(op, x, y)| {
                Expr::Binary(op, Box::new(number(x)), Box::new(number(y)))
            }),
            3 => call.prop_map(|(function, arguments)| Expr::Call(function, arguments)),
            1 => inner,
        ]
        .prop_map(|expr| if type_of(&expr).is_some() { expr } else { part_with_type(expr) })
    })
    .prop_map(|expr| if type_of(&expr).is_some() { expr } else { part_with_type(expr) })
}

/// The first part that has a type: leaves do.
fn part_with_type(expr: Expr) -> Expr {
    let found = expr.parts().into_iter().find(|part| type_of(part).is_some()).cloned();
    found.unwrap_or(expr)
}

fn bag() -> impl Strategy<Value = Bag> {
    let names = ["a", "B", "c", "$body.a", "$.ct", "$.ce", "$.mid", "$messageId", "$.on"];
    let values = ["application/json", "utf-8", "utf-16", "a", "b", "3", "-1.5", "", "서울"];
    let value = prop::option::of(prop::sample::select(values.to_vec()));
    let pairs = prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..6);
    (pairs, any::<bool>()).prop_map(|(pairs, is_json)| {
        let json = [("$.ct", Some("application/json")), ("$.ce", Some("utf-8"))];
        let json = json.into_iter().filter(|_| is_json);
        Bag::from_pairs(pairs.into_iter().chain(json))
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = "\\{(\"[abc]\": ?([0-9]{1,2}(\\.5)?|null|true|\"[ab]\"|\\[1, ?\"b\"\\]|\\{\"a\":1\\}), ?){0,3}\"c\":3\\}";
    prop_oneof![
        4 => json.prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn message() -> impl Strategy<Value = (Identity, Bag, Vec<u8>)> {
    let ids = ["leaf", "gw/a", "gw/b", "gw/$edgeHub"];
    let sender = prop::sample::select(ids.to_vec()).prop_map(|id| Identity::parse(id).unwrap());
    (sender, bag(), body())
}

/// Sees every part.
#[derive(Default)]
struct Watching {
    values: usize,
    judged: Vec<(String, Judged)>,
}

impl Observer for Watching {
    const EVERY: bool = true;

    fn value(&mut self, _: usize, _: &Value<'_>) {
        self.values += 1;
    }

    fn route(&mut self, route: &Route, judged: Judged) {
        self.judged.push((route.name.to_string(), judged));
    }
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let sources = [
        "/",
        "/messages",
        "/messages/modules/A",
        "/messages/modules/a/outputs/b",
        "/messages/modules/b",
        "/twinChangeNotifications",
    ];
    let route =
        (prop::sample::select(sources.to_vec()), prop::option::of(expr()), 0..4usize, 0..3u8);
    prop::collection::vec(route, 0..8).prop_map(|routes| {
        let made =
            routes.into_iter().enumerate().map(|(n, (source, condition, sink, priority))| {
                let sink = [
                    "$upstream",
                    "BrokeredEndpoint('/modules/a/inputs/i')",
                    "BrokeredEndpoint('/modules/a/inputs/j')",
                    "BrokeredEndpoint('/modules/b/inputs/i')",
                ][sink];
                let route =
                    Route::parse(&format!("r{n}"), &format!("FROM {source} INTO {sink}"), "gw");
                Route { condition, priority: Priority(priority), ..route.unwrap() }
            });
        made.collect()
    })
}

proptest! {
    #[test]
    fn what_a_route_says_is_read_back(
        source in source(),
        condition in prop::option::of(expr()),
        sink in sink(),
    ) {
        let base = Statement::parse("r", &format!("FROM {source} INTO $upstream")).unwrap();
        let statement = Statement { condition, sink, ..base };
        let text = statement.to_string();
        let again = Statement::parse("r", &text);
        prop_assert_eq!(again, Ok(statement), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(FROM /messages |WHERE |IS_DEFINED\\()?[ -~é\n]{0,40}") {
        if let Err(error) = Statement::parse("r", &text) {
            let _ = error.marked();
        }
    }

    #[test]
    fn no_sequence_of_words_makes_it_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "$b", "{", "}", "$body.a", "'x'", "1", "-2", "(", ")", ",", "=", "!=", "<", "AND",
            "or", "NOT", "-", "+", "*", "/", "%", "||", "??", "null", "true", "undefined", "abs",
            "concat", "is_null", "온", "&&", "a!", "INTO", "/*", "*/",
        ]), 0..12),
        gap in "[ \n]?",
    ) {
        let text = words.join(&gap);
        match Statement::parse_condition("r", &text) {
            Ok(expr) => {
                let again = Statement::parse_condition("r", &expr.to_string());
                prop_assert_eq!(again, Ok(expr), "{}", text);
            }
            Err(error) => prop_assert!(!error.marked().is_empty()),
        }
    }

    #[test]
    fn who_watches_changes_nothing(routes in routes(), (sender, bag, body) in message()) {
        let message = Inbound::of(&sender, "gw", &bag, &body);
        let count = routes.len();
        let table = RouteTable::new(1, routes, None);
        let mut seen = Watching::default();
        let (alone, watched) = (table.judge(&message, &mut ()), table.judge(&message, &mut seen));
        prop_assert_eq!(&alone.wins, &watched.wins);
        prop_assert!(alone.parses <= watched.parses && watched.parses <= 1);
        prop_assert_eq!(seen.judged.len(), count, "every route is judged");
        for win in &alone.wins {
            prop_assert!(seen.judged.contains(&(win.route.to_string(), Judged::Wins)));
        }
        for route in table.routes() {
            let wins = alone.wins.iter().any(|win| win.route == route.name);
            prop_assert!(!wins || route.takes(&message), "by itself it says the same");
        }
    }

    #[test]
    fn what_is_explained_is_what_happens(routes in routes(), (sender, bag, body) in message()) {
        let message = Inbound::of(&sender, "gw", &bag, &body);
        let table = RouteTable::new(1, routes, None);
        let explanation = explain(&table, &message);
        prop_assert_eq!(&explanation.outcome.wins, &table.judge(&message, &mut ()).wins);
        prop_assert_eq!(explanation.routes.len(), table.routes().len());
        for (explained, route) in explanation.routes.iter().zip(table.routes()) {
            prop_assert_eq!(&explained.route, route);
            let Explained { judged, parts, beaten_by, .. } = explained;
            prop_assert_eq!(*judged != Judged::OtherSource, route.source.covers(&message));
            prop_assert_eq!(matches!(judged, Judged::Wins | Judged::Beaten), route.takes(&message));
            prop_assert_eq!(beaten_by.is_some(), *judged == Judged::Beaten);
            let Some(condition) = &route.condition else { continue };
            if let Judged::Refused(truth) = judged {
                prop_assert_eq!(*truth, evaluate(condition, &message, &mut ()).0);
            }
            if *judged != Judged::OtherSource {
                prop_assert_eq!(parts.len(), condition.parts().len());
                for (part, expr) in parts.iter().zip(condition.parts()) {
                    prop_assert_eq!(&part.text, &expr.to_string());
                    prop_assert_eq!(&part.value, &evaluate(expr, &message, &mut ()).1);
                }
            }
        }
    }

    #[test]
    fn what_is_counted_is_what_would_happen(
        routes in routes(),
        messages in prop::collection::vec(message(), 0..6),
    ) {
        let table = RouteTable::new(1, routes, None);
        let (mut tally, mut wins) = (Tally::new(&table), Vec::new());
        for (sender, bag, body) in &messages {
            let message = Inbound::of(sender, "gw", bag, body);
            tally.count(&table, &message);
            wins.push(table.winners(&message));
        }
        let lost = wins.iter().filter(|wins| wins.is_empty()).count();
        prop_assert_eq!((tally.messages, tally.unrouted), (messages.len() as u64, lost as u64));
        for (line, route) in tally.routes.iter().zip(table.routes()) {
            let won = wins.iter().flatten().filter(|win| win.route == route.name).count();
            let takes = |(sender, bag, body): &&(Identity, Bag, Vec<u8>)| {
                route.takes(&Inbound::of(sender, "gw", bag, body))
            };
            let matched = messages.iter().filter(takes).count();
            prop_assert_eq!((line.matched, line.wins), (matched as u64, won as u64), "{}", line.name);
        }
        let all = tally.endpoints.values().sum::<u64>();
        prop_assert_eq!(all, wins.iter().flatten().count() as u64);
    }

    #[test]
    fn an_endpoint_gets_a_message_once_at_most(routes in routes(), (sender, bag, body) in message()) {
        let message = Inbound::of(&sender, "gw", &bag, &body);
        let takes: Vec<Route> = routes.iter().filter(|it| it.takes(&message)).cloned().collect();
        let wins = RouteTable::new(1, routes, None).winners(&message);
        for win in &wins {
            let of = |it: &Route| (it.endpoint.clone(), it.input.clone());
            let here = (win.endpoint.clone(), win.input.clone());
            let same = wins.iter().filter(|w| (w.endpoint.clone(), w.input.clone()) == here);
            prop_assert_eq!(same.count(), 1);
            let best = takes.iter().filter(|it| of(it) == here).min_by_key(|it| (it.priority, it.name.clone()));
            prop_assert_eq!(best.map(|it| &it.name), Some(&win.route));
        }
        for route in &takes {
            prop_assert!(wins.iter().any(|w| (&w.endpoint, &w.input) == (&route.endpoint, &route.input)));
        }
    }

    #[test]
    fn what_a_condition_comes_to_has_the_type_that_was_foretold(
        expr in expr(),
        (sender, bag, body) in message(),
    ) {
        let message = Inbound::of(&sender, "gw", &bag, &body);
        let (truth, value) = evaluate(&expr, &message, &mut ());
        let mut seen = Watching::default();
        prop_assert_eq!((truth, value.clone()), evaluate(&expr, &message, &mut seen));
        prop_assert!(seen.values > 0);
        let fits = match type_of(&expr) {
            Some(Type::Number) => matches!(value, Value::Number(_) | Value::Undefined),
            Some(Type::Text) => matches!(value, Value::Text(_) | Value::Null | Value::Undefined),
            Some(Type::Bool) => matches!(value, Value::Bool(_) | Value::Undefined),
            Some(Type::Null) => value == Value::Null,
            Some(Type::Undefined) => value == Value::Undefined,
            Some(Type::Dynamic) => true,
            None => false,
        };
        prop_assert!(fits, "{expr}: {value:?}");
    }
}
