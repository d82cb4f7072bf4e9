//! Routes: their text, and conditions with a message. As in `targets.rs`, a finding is a panic.

use edge_runtime::domain::bag::Bag;
use edge_runtime::domain::identity::Identity;
use edge_runtime::domain::route::{
    Inbound, Judged, Observer, Route, RouteTable, Sink, Statement, Value, evaluate,
};

/// As much as a route can have.
const MOST_BYTES: usize = 32_768;

/// What a route says can be printed and says the same again; a mistake has a place.
pub fn route_text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Statement::parse("r", text) {
        Ok(statement) => {
            let printed = statement.to_string();
            if printed.len() <= MOST_BYTES {
                assert_eq!(Statement::parse("r", &printed).as_ref(), Ok(&statement), "{printed}");
            }
        }
        Err(error) => assert!(error.line > 0 && error.marked().contains('^'), "{error}"),
    }
    if let Ok(condition) = Statement::parse_condition("r", text) {
        let printed = condition.to_string();
        if printed.len() <= MOST_BYTES {
            assert_eq!(
                Statement::parse_condition("r", &printed).as_ref(),
                Ok(&condition),
                "{printed}"
            );
        }
        assert!(condition.parts().len() <= text.len().max(1));
    }
}

/// Sees every part, and how a route was judged.
#[derive(Default)]
struct Watching {
    values: usize,
    judged: Option<Judged>,
}

impl Observer for Watching {
    const EVERY: bool = true;

    fn value(&mut self, _: usize, value: &Value<'_>) {
        assert!(!matches!(value, Value::Number(number) if number.is_nan()));
        self.values += 1;
    }

    fn route(&mut self, _: &Route, judged: Judged) {
        self.judged = Some(judged);
    }
}

/// A condition, a bag, and a body, each in a line of its own, the body to the end: the answer is the
/// same whoever watches, and in a table.
pub fn route_eval(input: &[u8]) {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next()?).ok();
    let (Some(condition), Some(bag)) = (text(), text()) else { return };
    let body = lines.next().unwrap_or_default();
    let (Ok(condition), Ok(bag)) = (Statement::parse_condition("r", condition), Bag::parse(bag))
    else {
        return;
    };
    let bag = match bag.get("$.ct") {
        Some(_) => bag,
        None => bag.with(&[("$.ct", "application/json"), ("$.ce", "utf-8")]),
    };
    let sender = Identity::parse("edge/module").expect("an id");
    let message = Inbound::of(&sender, "edge", &bag, body);
    let (truth, value) = evaluate(&condition, &message, &mut ());
    let mut seen = Watching::default();
    assert_eq!(evaluate(&condition, &message, &mut seen), (truth, value));
    assert!(seen.values >= condition.parts().len(), "every part is told");
    let route = Route::parse("r", "FROM /messages INTO $upstream", "edge").expect("a route");
    assert_eq!(route.sink, Sink::Upstream);
    let table = RouteTable::new(1, vec![Route { condition: Some(condition), ..route }], None);
    let outcome = table.judge(&message, &mut seen);
    assert_eq!(outcome.wins.len() == 1, truth == Some(true));
    assert_eq!(seen.judged == Some(Judged::Wins), truth == Some(true));
    assert!(outcome.parses <= 1);
}
