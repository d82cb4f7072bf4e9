//! `route explain`: what each route makes of a message, and who wins it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{files, message};
use crate::ctl::command::{Explain, Output};
use crate::ctl::device::Runtime;
use crate::ctl::error::CtlError;
use crate::ctl::output::{members, show, text_of};
use crate::domain::route::case::{EDGE, place};
use crate::domain::route::{
    Explained, Explanation, Expr, Inbound, Judged, Name, Route, RouteTable, explain as explained_by,
};
use crate::domain::row::Priority;

pub(super) async fn explain(
    runtime: &Runtime,
    output: Output,
    args: &Explain,
) -> Result<(), CtlError> {
    let message = message::read(&args.message)?;
    let (edge, table) = match &args.routes {
        Some(file) => {
            let own = message.sender.module_id().map(|_| message.sender.device_id());
            let edge = args.device.as_deref().or(own).unwrap_or(EDGE).to_owned();
            let table = files::table(file, &edge)?;
            (edge, table)
        }
        None => in_force(runtime).await?,
    };
    let sample = message.at(&edge)?;
    let inbound = sample.inbound(&edge);
    let explanation = explained_by(&table, &inbound);
    let answer = json(&explanation, &inbound, table.global_ttl());
    show(output, &answer, |_| text(&explanation, &inbound, table.global_ttl()))
}

/// The routes that the runtime has, at its device.
async fn in_force(runtime: &Runtime) -> Result<(String, RouteTable), CtlError> {
    let (status, routes) = (runtime.get("/status").await?, runtime.get("/routes").await?);
    let edge = text_of(&status, "device").to_owned();
    let active = || members(&routes["routes"]).filter(|route| route["state"] == "active");
    let parsed = active().map(|line| {
        let route = Route::parse(text_of(line, "name"), text_of(line, "text"), &edge);
        let route = route.map_err(|e| {
            CtlError::new("edge-runtime has a route that this edgectl cannot read").because(e)
        })?;
        let priority = line["priority"].as_u64().and_then(|it| u8::try_from(it).ok());
        let priority = priority.map_or(Priority::DEFAULT, Priority);
        Ok(Route { priority, ttl: line["time_to_live_seconds"].as_u64(), ..route })
    });
    let parsed = parsed.collect::<Result<Vec<_>, CtlError>>()?;
    let mut without = active().filter(|line| line["time_to_live_seconds"].is_null());
    let global = without.find_map(|line| line["lives_seconds"].as_u64());
    Ok((edge, RouteTable::new(1, parsed, global)))
}

fn endpoint(route: &Route) -> String {
    place(&route.endpoint.0, route.input.as_deref())
}

fn word(judged: Judged) -> &'static str {
    match judged {
        Judged::OtherSource => "other-source",
        Judged::Refused(_) => "refused",
        Judged::Beaten => "beaten",
        Judged::Wins => "wins",
    }
}

/// Of the condition as a whole; `None`: it has none, or was not asked for.
fn truth(explained: &Explained) -> Option<&'static str> {
    let Explained { route, judged, .. } = explained;
    route.condition.as_ref()?;
    match judged {
        Judged::OtherSource => None,
        Judged::Refused(None) => Some("undefined"),
        Judged::Refused(Some(_)) => Some("false"),
        Judged::Beaten | Judged::Wins => Some("true"),
    }
}

fn json(explanation: &Explanation, message: &Inbound<'_>, global: Option<u64>) -> Value {
    let routes = explanation.routes.iter().map(|explained| {
        let route = &explained.route;
        let parts = explained.parts.iter().map(|part| {
            json!({ "depth": part.depth, "text": part.text, "value": part.value.to_string() })
        });
        json!({
            "name": &*route.name,
            "text": route.text,
            "source_matches": explained.judged != Judged::OtherSource,
            "condition": truth(explained),
            "parts": parts.collect::<Vec<_>>(),
            "endpoint": endpoint(route),
            "priority": Some(route.priority.0).filter(|_| route.priority != Priority::DEFAULT),
            "time_to_live_seconds": route.ttl.or(global),
            "result": word(explained.judged),
            "beaten_by": explained.beaten_by.as_deref(),
        })
    });
    let wins = explanation.outcome.wins.iter().map(|win| {
        let endpoint = place(&win.endpoint.0, win.input.as_deref());
        json!({ "endpoint": endpoint, "route": &*win.route })
    });
    json!({
        "source": message.source(),
        "routes": routes.collect::<Vec<_>>(),
        "wins": wins.collect::<Vec<_>>(),
        "note": note(explanation, message),
    })
}

fn text(explanation: &Explanation, message: &Inbound<'_>, global: Option<u64>) -> String {
    let mut text = format!("a message from {}\n", message.source());
    for explained in &explanation.routes {
        one(&mut text, explained, explanation, global);
    }
    _ = writeln!(text);
    for win in &explanation.outcome.wins {
        let endpoint = place(&win.endpoint.0, win.input.as_deref());
        _ = writeln!(text, "{endpoint} gets it, by {}", win.route);
    }
    if explanation.outcome.wins.is_empty() {
        _ = writeln!(text, "no route takes it");
    }
    if let Some(note) = note(explanation, message) {
        _ = writeln!(text, "note: {note}");
    }
    text
}

fn one(text: &mut String, explained: &Explained, all: &Explanation, global: Option<u64>) {
    let Explained { route, judged, parts, .. } = explained;
    let why = match judged {
        Judged::OtherSource => "does not take it: its source is another one".to_owned(),
        Judged::Refused(_) => {
            format!("does not take it: its condition is {}", truth(explained).unwrap_or_default())
        }
        Judged::Beaten => beaten(explained, all),
        Judged::Wins => format!("wins {}", endpoint(route)),
    };
    let priority = match route.priority {
        Priority::DEFAULT => "the default priority".to_owned(),
        Priority(priority) => format!("priority {priority}"),
    };
    let lives = match (route.ttl, global) {
        (Some(own), _) => format!("time to live {own} s"),
        (None, Some(global)) => format!("time to live {global} s, the global one"),
        (None, None) => "no time to live".to_owned(),
    };
    _ = writeln!(text, "\n{}: {why}", route.name);
    let matches = if *judged == Judged::OtherSource { "does not match" } else { "matches" };
    _ = writeln!(text, "  source     {}: {matches}", route.source);
    let mut parts = parts.iter().filter(|part| part.depth == 0 || !part.is_literal);
    if let Some(whole) = parts.next() {
        _ = writeln!(text, "  condition  {} -> {}", whole.text, whole.value);
    }
    for part in parts {
        let gap = "  ".repeat(part.depth);
        _ = writeln!(text, "             {gap}{} -> {}", part.text, part.value);
    }
    _ = writeln!(text, "  sink       {}, {priority}, {lives}", endpoint(route));
}

fn beaten(explained: &Explained, all: &Explanation) -> String {
    let place = endpoint(&explained.route);
    let by = explained.beaten_by.as_deref().unwrap_or_default();
    let winner = all.routes.iter().find(|other| &*other.route.name == by);
    let is_same = winner.is_some_and(|it| it.route.priority == explained.route.priority);
    let why = if is_same { "its name comes first" } else { "its priority is higher" };
    format!("would take it, but {by} takes it to {place}: {why}")
}

/// What is easily overlooked: a body that is not read.
fn note(explanation: &Explanation, message: &Inbound<'_>) -> Option<String> {
    if explanation.outcome.is_body_bad {
        return Some("the body is not the JSON object that the message says it is".to_owned());
    }
    let is_of_body = |part: &&Expr| matches!(part, Expr::Name(Name::Body(_) | Name::BodyOnly(_)));
    let mut asked = explanation.routes.iter().filter(|it| it.judged != Judged::OtherSource);
    let asks = asked.any(|explained| {
        let condition = explained.route.condition.iter();
        condition.flat_map(Expr::parts).any(|part| is_of_body(&part))
    });
    let is_unread = explanation.outcome.parses == 0;
    (asks && is_unread && !message.body.is_empty()).then(|| {
        "$body is read only of messages with contentType application/json and contentEncoding \
         utf-8, utf-16 or utf-32"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bag::Bag;
    use crate::domain::identity::Identity;
    use crate::domain::route::RouteSet;

    #[test]
    fn each_route_is_told_with_all_parts_of_its_condition_and_why_it_does_not_win() {
        let desired = json!({ "schemaVersion": "1.1", "routes": {
            "hot": { "route": "FROM /messages/* WHERE as_number(temp) > 30 AND NOT ($body.a = 1) \
                               INTO $upstream", "priority": 1, "timeToLiveSecs": 60 },
            "all": "FROM /* INTO $upstream",
            "zall": { "route": "FROM /* INTO $upstream", "priority": 1 },
            "other": "FROM /twinChangeNotifications INTO $upstream",
            "cold": "FROM /* WHERE temp = 'cold' INTO BrokeredEndpoint('/modules/m/inputs/i')",
        }});
        let set = RouteSet::parse(&desired, "gw");
        assert_eq!(set.bad, []);
        let table = RouteTable::new(1, set.good, Some(7));
        let sender = Identity::parse("gw/s").unwrap();
        let bag = Bag::from_pairs([("temp", Some("31")), ("$.on", Some("o"))]);
        let message = Inbound::of(&sender, "gw", &bag, b"{}");
        let explanation = explained_by(&table, &message);
        let expected = "\
a message from /messages/modules/s/outputs/o

hot: does not take it: its condition is undefined
  source     /messages: matches
  condition  as_number(temp) > 30 AND NOT ($body.a = 1) -> undefined
               as_number(temp) > 30 -> true
                 as_number(temp) -> 31
                   temp -> \"31\"
               NOT ($body.a = 1) -> undefined
                 $body.a = 1 -> undefined
                   $body.a -> undefined
  sink       $upstream, priority 1, time to live 60 s

zall: wins $upstream
  source     /: matches
  sink       $upstream, priority 1, time to live 7 s, the global one

all: would take it, but zall takes it to $upstream: its priority is higher
  source     /: matches
  sink       $upstream, the default priority, time to live 7 s, the global one

cold: does not take it: its condition is false
  source     /: matches
  condition  temp = \"cold\" -> false
               temp -> \"31\"
  sink       gw/m/i, the default priority, time to live 7 s, the global one

other: does not take it: its source is another one
  source     /twinChangeNotifications: does not match
  sink       $upstream, the default priority, time to live 7 s, the global one

$upstream gets it, by zall
note: $body is read only of messages with contentType application/json and contentEncoding utf-8, \
utf-16 or utf-32
";
        assert_eq!(text(&explanation, &message, Some(7)), expected);
        let json = json(&explanation, &message, Some(7));
        assert_eq!(json["routes"][2]["beaten_by"], "zall");
        assert_eq!(json["routes"][0]["parts"][5]["text"], "NOT ($body.a = 1)");
        assert_eq!(json["wins"], json!([{ "endpoint": "$upstream", "route": "zall" }]));
    }
}
