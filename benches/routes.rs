//! What a message costs at a route table: `cargo bench --bench routes`, or `make bench`.
//!
//! One message with a JSON body of 1 KiB and five properties; of the routes one takes it. What is
//! not asked for costs nothing: `other_source` has no condition that is looked at.

use divan::{Bencher, black_box};
use edge_runtime::domain::bag::Bag;
use edge_runtime::domain::identity::Identity;
use edge_runtime::domain::route::{Inbound, Route, RouteTable};

fn main() {
    divan::main();
}

const ROUTES: [usize; 4] = [1, 10, 100, 1_000];

/// Of `count` routes to as many modules, each with what `condition` says of its number.
fn table(
    count: usize,
    source: impl Fn(usize) -> String,
    condition: impl Fn(usize) -> String,
) -> RouteTable {
    let routes = (0..count).map(|n| {
        let sink = format!("BrokeredEndpoint('/modules/m{n}/inputs/in')");
        let text = format!("FROM {} WHERE {} INTO {sink}", source(n), condition(n));
        Route::parse(&format!("r{n}"), &text, "edge").expect("a route")
    });
    RouteTable::new(1, routes.collect(), None)
}

fn telemetry(_: usize) -> String {
    "/messages/*".into()
}

/// 1 KiB, as a sensor would send it.
fn body() -> String {
    let reading = |n: usize| {
        format!(r#"{{"sensor":"line-{n:02}","temperature":{}.5,"unit":"C","ok":true}}"#, 20 + n)
    };
    let readings: Vec<_> = (0..15).map(reading).collect();
    let body = format!(
        r#"{{"machine":{{"id":"press-7","temperature":71.25,"pressure":[1.0,2.5,3.75]}},"readings":[{}],"status":"ok"}}"#,
        readings.join(",")
    );
    assert!((1_000..1_200).contains(&body.len()), "{}", body.len());
    body
}

fn run(bencher: Bencher<'_, '_>, table: &RouteTable, wins: usize, parses: u32) {
    let sender = Identity::parse("edge/sensor").expect("an id");
    let bag = "%24.ct=application%2Fjson&%24.ce=utf-8&%24.on=out&kind=reading&level=5";
    let (bag, body) = (Bag::parse(bag).expect("a bag"), body());
    let message = Inbound::of(&sender, "edge", &bag, body.as_bytes());
    let outcome = table.judge(&message, &mut ());
    assert_eq!((outcome.wins.len(), outcome.parses), (wins, parses), "what is measured");
    bencher.bench(|| table.judge(black_box(&message), &mut ()));
}

#[divan::bench(args = ROUTES)]
fn properties(bencher: Bencher<'_, '_>, count: usize) {
    let table =
        table(count, telemetry, |n| format!("kind = 'reading' AND as_number(level) = 5 + {n}"));
    run(bencher, &table, 1, 0);
}

#[divan::bench(args = ROUTES)]
fn bodies(bencher: Bencher<'_, '_>, count: usize) {
    let condition = |n| format!("$body.machine.temperature > 70 + {n} AND $body.readings[3].ok");
    run(bencher, &table(count, telemetry, |n| condition(2 * n)), 1, 1);
}

/// As many places in the body as routes.
#[divan::bench(args = ROUTES)]
fn places(bencher: Bencher<'_, '_>, count: usize) {
    let condition = |n| match n {
        0 => "$body.status = 'ok'".to_owned(),
        n => format!("$body.machine.field{n} > 5"),
    };
    run(bencher, &table(count, telemetry, condition), 1, 1);
}

/// Beside one that takes it, routes of other modules.
#[divan::bench(args = ROUTES)]
fn other_source(bencher: Bencher<'_, '_>, count: usize) {
    let source = |n| match n {
        0 => "/messages/modules/sensor".to_owned(),
        n => format!("/messages/modules/other{n}/outputs/out"),
    };
    run(bencher, &table(count, source, |_| "$kind = 'x' OR true".to_owned()), 1, 0);
}
