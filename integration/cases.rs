//! The tables of cases: what the reference does, judged against the domain. `make cases`.
//!
//! Folder: `EDGE_CASES_DIR`, else `integration/cases`. Per table a line with what passed, what
//! failed (listed), and what was decided otherwise; the decisions and their reasons are in
//! docs/differences.md, by case or by a rule that covers its like; `EDGE_CASES_SHOW=1` lists which
//! case was decided by which rule.

#[path = "cases/agent.rs"]
mod agent;
#[path = "cases/agent_around.rs"]
mod agent_around;
#[path = "cases/agent_config.rs"]
mod agent_config;
#[path = "cases/agent_container.rs"]
mod agent_container;
#[path = "cases/agent_methods.rs"]
mod agent_methods;
#[path = "cases/agent_plan.rs"]
mod agent_plan;
#[path = "cases/agent_restarts.rs"]
mod agent_restarts;
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

/// Name of a rule, or id of a case: its reason.
type Decisions = BTreeMap<String, String>;

fn own_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("integration/cases")
}

fn read(path: &PathBuf) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The rows of docs/differences.md that begin with a name in backquotes.
fn decisions() -> Result<Decisions, String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/differences.md");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let row = |line: &str| {
        let (name, reason) = line.strip_prefix("| `")?.split_once("` | ")?;
        let reason = reason.trim_end_matches('|').trim();
        (!reason.is_empty()).then(|| (name.to_owned(), reason.to_owned()))
    };
    Ok(text.lines().filter_map(row).collect())
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
    let mut by_rule: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let cases = table.0["cases"].as_array().ok_or("`cases` is not an array")?;
    for case in cases {
        let id = text(case, "id");
        match judge(&table, case) {
            Verdict::Pass => passed += 1,
            Verdict::Otherwise(rule) if decisions.contains_key(rule) => {
                otherwise += 1;
                by_rule.entry(rule).or_default().push(id);
            }
            Verdict::Otherwise(rule) => failed.push(format!("{id}: rule `{rule}` has no reason")),
            Verdict::Fail(_) if decisions.contains_key(id) => otherwise += 1,
            Verdict::Fail(why) => failed.push(format!("{id}: {why}")),
        }
    }
    let failures = failed.len();
    println!("{name}: {passed} passed, {failures} failed, {otherwise} decided otherwise");
    failed.iter().for_each(|line| println!("  {line}"));
    if std::env::var_os("EDGE_CASES_SHOW").is_some() {
        by_rule.iter().for_each(|(rule, ids)| println!("  {rule}: {}", ids.join(", ")));
    }
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
