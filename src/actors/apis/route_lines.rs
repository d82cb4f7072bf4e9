//! Routes as an operator sees them: what was set beside what the queue counts.
//!
//! | state | means |
//! |---|---|
//! | `active` | it takes messages, and they are sent |
//! | `paused` | what it took is kept; if it is in force, it takes more |
//! | `bad` | it cannot be read; if it has an endpoint, its last good form runs |
//! | `draining` | it is not in force (here, any more); what it took is still sent |
//! | `gone` | as before, and only dead letters are left |

use crate::messages::queue::{QueueStatus, RouteCounts};
use crate::messages::routes::{Lag, RouteLine, RouteStatus};

/// Joins them: routes in force first, then what is left of others.
pub(super) fn of(routes: &[RouteStatus], queue: &QueueStatus) -> Vec<RouteLine> {
    let is_bad = |route: &&RouteStatus| route.state == "bad";
    let in_force = routes.iter().filter(|route| !is_bad(route));
    let mut lines: Vec<RouteLine> = in_force
        .map(|route| {
            let bad = routes.iter().filter(is_bad).find(|bad| bad.name == route.name);
            let is_paused = queue.paused.contains(&route.name);
            let state = match bad {
                Some(_) => "bad",
                None if is_paused => "paused",
                None => "active",
            };
            let route = RouteStatus {
                state: state.into(),
                error: bad.and_then(|bad| bad.error.clone()),
                ..route.clone()
            };
            let counts = queue.routes.iter().find(|counts| is_of(counts, &route));
            line(route, counts)
        })
        .collect();
    let has_form = |bad: &&RouteStatus| lines.iter().any(|line| line.route.name == bad.name);
    let lost: Vec<_> = routes.iter().filter(is_bad).filter(|bad| !has_form(bad)).collect();
    let lost: Vec<_> = lost.into_iter().map(|bad| line(bad.clone(), None)).collect();
    let is_known = |counts: &&RouteCounts| lines.iter().any(|line| is_of(counts, &line.route));
    let left: Vec<_> = queue.routes.iter().filter(|counts| !is_known(counts)).collect();
    lines.extend(lost);
    for counts in left.into_iter().filter(|counts| counts.stored + counts.dead_lettered > 0) {
        let state = match (counts.stored, queue.paused.contains(&counts.route)) {
            (0, _) => "gone",
            (_, true) => "paused",
            (_, false) => "draining",
        };
        let (name, endpoint) = (counts.route.clone(), counts.endpoint.clone());
        let route = RouteStatus { name, endpoint, state: state.into(), ..RouteStatus::default() };
        lines.push(line(route, Some(counts)));
    }
    lines
}

fn is_of(counts: &RouteCounts, route: &RouteStatus) -> bool {
    counts.route == route.name && counts.endpoint == route.endpoint
}

fn line(route: RouteStatus, counts: Option<&RouteCounts>) -> RouteLine {
    let counts = counts.cloned().unwrap_or_default();
    let lag = Lag {
        messages: counts.stored,
        bytes: counts.stored_bytes,
        oldest_seconds: counts.oldest_seconds,
        oldest_is_at_most: counts.oldest_is_at_most,
    };
    let (messages, bytes) = (counts.dead_lettered, counts.dead_bytes);
    RouteLine {
        route,
        matched: counts.received,
        delivered: counts.delivered,
        lag,
        dead_letters: Lag { messages, bytes, ..Lag::default() },
        expired: counts.expired,
        discarded: counts.discarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, endpoint: &str, state: &str) -> RouteStatus {
        let (name, endpoint, state) = (name.into(), endpoint.into(), state.into());
        let error = (state == "bad").then(|| "no".into());
        RouteStatus { name, endpoint, state, error, ..RouteStatus::default() }
    }

    fn counts(route: &str, endpoint: &str, stored: u64, dead_lettered: u64) -> RouteCounts {
        let (route, endpoint) = (route.into(), endpoint.into());
        RouteCounts { route, endpoint, received: 9, stored, dead_lettered, ..Default::default() }
    }

    #[test]
    fn every_route_that_is_set_or_owes_something_has_a_line_with_its_state() {
        let routes = [
            route("kept", "$upstream", "active"),
            route("moved", "gw/m/new", "active"),
            route("rests", "$upstream", "active"),
            route("kept", "", "bad"),
            route("never", "", "bad"),
        ];
        let queue = QueueStatus {
            routes: vec![
                counts("kept", "$upstream", 1, 0),
                counts("moved", "gw/m/old", 2, 0),
                counts("rests", "$upstream", 3, 0),
                counts("rests", "gw/gone/in", 4, 0),
                counts("left", "$upstream", 0, 5),
                counts("done", "$upstream", 0, 0),
            ],
            paused: vec!["rests".into()],
            ..QueueStatus::default()
        };
        let lines = of(&routes, &queue);
        let lines: Vec<_> = lines
            .iter()
            .map(|RouteLine { route, lag, dead_letters, .. }| {
                let text = format!("{} {} {}", route.name, route.endpoint, route.state);
                (text, lag.messages, dead_letters.messages, route.error.is_some())
            })
            .collect();
        let expected = [
            ("kept $upstream bad", 1, 0, true),
            ("moved gw/m/new active", 0, 0, false),
            ("rests $upstream paused", 3, 0, false),
            ("never  bad", 0, 0, true),
            ("moved gw/m/old draining", 2, 0, false),
            ("rests gw/gone/in paused", 4, 0, false),
            ("left $upstream gone", 0, 5, false),
        ];
        assert_eq!(lines, expected.map(|(text, lag, dead, bad)| (text.to_owned(), lag, dead, bad)));
    }
}
