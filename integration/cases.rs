//! The tables of cases: what the reference does, judged against the domain. `make cases`.
//!
//! Folder: `EDGE_CASES_DIR`, else `integration/cases`. Per table a line with what passed, what
//! failed (listed), and what was decided otherwise; the decisions and their reasons are in
//! `integration/cases/decisions.json`, by case or by a rule that covers its like.

#[path = "cases/agent.rs"]
mod agent;
#[path = "cases/agent_methods.rs"]
mod agent_methods;
#[path = "cases/agent_plan.rs"]
mod agent_plan;
#[path = "cases/condition.rs"]
mod condition;
#[path = "cases/mqtt.rs"]
mod mqtt;
#[path = "cases/route.rs"]
mod route;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

/// What came of a case.
enum Verdict {
    Pass,
    /// As the rule of this name says.
    Otherwise(&'static str),
    Fail(String),
}

/// Judges one case.
type Judge = fn(&Table, &Value) -> Verdict;

/// A file of cases.
struct Table(Value);

/// Passes if both are equal.
#[track_caller]
fn equal<T: PartialEq + std::fmt::Debug>(ours: &T, wanted: &T) -> Verdict {
    match ours == wanted {
        true => Verdict::Pass,
        false => Verdict::Fail(format!("{ours:?}, not {wanted:?}")),
    }
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

struct Decisions {
    /// Name of a rule: its reason.
    rules: BTreeMap<String, String>,
    /// Id of a case: its reason.
    cases: BTreeMap<String, String>,
}

fn own_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("integration/cases")
}

fn read(path: &PathBuf) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn decisions() -> Result<Decisions, String> {
    let value = read(&own_folder().join("decisions.json"))?;
    let part = |key: &str| serde_json::from_value(value[key].clone()).map_err(|e| e.to_string());
    Ok(Decisions { rules: part("rules")?, cases: part("cases")? })
}

/// Judges a table and prints its line; answers how many failed.
fn run(name: &str, judge: Judge, decisions: &Decisions) -> Result<usize, String> {
    let folder = std::env::var_os("EDGE_CASES_DIR").map_or_else(own_folder, PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        println!("{name}: not in {}", folder.display());
        return Ok(0);
    }
    let table = Table(read(&path)?);
    let (mut passed, mut otherwise, mut failed) = (0, 0, Vec::new());
    let cases = table.0["cases"].as_array().ok_or("`cases` is not an array")?;
    for case in cases {
        let id = text(case, "id");
        match judge(&table, case) {
            Verdict::Pass => passed += 1,
            Verdict::Otherwise(rule) if decisions.rules.contains_key(rule) => otherwise += 1,
            Verdict::Otherwise(rule) => failed.push(format!("{id}: rule `{rule}` has no reason")),
            Verdict::Fail(_) if decisions.cases.contains_key(id) => otherwise += 1,
            Verdict::Fail(why) => failed.push(format!("{id}: {why}")),
        }
    }
    let failures = failed.len();
    println!("{name}: {passed} passed, {failures} failed, {otherwise} decided otherwise");
    failed.iter().for_each(|line| println!("  {line}"));
    Ok(failures)
}

fn main() -> ExitCode {
    let tables: [(&str, Judge); 3] = [
        ("mqtt_cases.json", mqtt::judge),
        ("route_cases.json", route::judge),
        ("agent_cases.json", agent::judge),
    ];
    let outcome = decisions().and_then(|decisions| {
        let mut failures = 0;
        for (name, judge) in tables {
            failures += run(name, judge, &decisions)?;
        }
        Ok(failures)
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
