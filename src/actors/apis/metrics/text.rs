//! Prometheus' text format: one prefix, base units, few labels (users.md 4.4).

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::super::overview::Overview;
use crate::actors::supervision::panics;
use crate::messages::agent::ModuleStatusLine;
use crate::messages::local_topics::LocalStatus;
use crate::messages::queue::{QueueStatus, RouteCounts};
use crate::messages::supervision::Snapshot;

/// All metrics. `memory` is what `/proc/self/status` holds.
pub(super) fn write(overview: &Overview, tree: &[Snapshot], memory: &str) -> String {
    let mut text = Text::default();
    text.one("build_info", "gauge", "The program; always 1", &[("version", overview.version)], 1);
    text.one("ready", "gauge", "1 if clients are served", &[], u8::from(overview.is_ready));
    text.head("part_ready", "gauge", "1 if the part works");
    for part in &overview.parts {
        text.value("part_ready", &[("part", part.name)], u8::from(part.is_ready));
    }
    link(&mut text, overview);
    if let Some(queue) = &overview.queue {
        self::queue(&mut text, queue);
    }
    clients(&mut text, overview);
    if let Some(local) = &overview.local_topics {
        local_topics(&mut text, local);
    }
    certificates(&mut text, overview);
    modules(&mut text, overview);
    actors(&mut text, tree);
    let help = "Panics in the process; each ended an actor, or a piece of work";
    text.one("panics_total", "counter", help, &[], panics());
    text.head("process_memory_bytes", "gauge", "Memory of the process: resident, and its own part");
    for (name, kind) in [("VmRSS", "resident"), ("RssAnon", "anonymous"), ("RssShmem", "shared")] {
        if let Some(bytes) = kilobytes(memory, name) {
            text.value("process_memory_bytes", &[("kind", kind)], bytes);
        }
    }
    text.0
}

fn certificates(text: &mut Text, overview: &Overview) {
    let help = "When the certificate ends, in seconds since the epoch";
    text.head("certificate_ends_timestamp_seconds", "gauge", help);
    for it in &overview.certificates {
        let name = "certificate_ends_timestamp_seconds";
        text.value(name, &[("certificate", it.name)], it.ends_unix);
    }
    let help = "1 if it is in the last fifth of its life, and an operator has to renew it";
    text.head("certificate_ending", "gauge", help);
    for it in &overview.certificates {
        let is_ending = u8::from(it.warning.is_some());
        text.value("certificate_ending", &[("certificate", it.name)], is_ending);
    }
    let help = "How often the certificate was made anew since the start";
    text.head("certificate_renewals_total", "counter", help);
    for it in &overview.certificates {
        text.value("certificate_renewals_total", &[("certificate", it.name)], it.renewals);
    }
}

fn link(text: &mut Text, overview: &Overview) {
    let Some(link) = &overview.link else { return };
    let is_up = u8::from(link.state == "connected");
    text.one("link_connected", "gauge", "1 if the parent is connected", &[], is_up);
    let help = "Seconds since the link was connected, or lost";
    text.one("link_since_seconds", "gauge", help, &[], link.since_seconds);
    let help = "Attempts to connect since the link was last up";
    text.one("link_attempts", "gauge", help, &[], link.attempts);
    let help = "Identities known to the parent on this link";
    text.one("link_attached_identities", "gauge", help, &[], link.attached);
    let help = "Messages sent to the parent and not acknowledged";
    text.one("link_in_flight_messages", "gauge", help, &[], link.in_flight);
    let help = "Senders that wait because the parent refused a message of theirs";
    text.one("link_senders_in_backoff", "gauge", help, &[], link.lanes_in_backoff);
}

fn queue(text: &mut Text, queue: &QueueStatus) {
    let help = "Messages taken in, each once";
    text.one("messages_received_total", "counter", help, &[], queue.messages_in);
    let help = "Messages that no route took";
    text.one("messages_unrouted_total", "counter", help, &[], queue.unrouted);
    text.head("unrouted_messages_total", "counter", "Messages that no route took, by source");
    let mut sources: BTreeMap<&str, u64> = BTreeMap::new(); // of all senders: these may be many
    for one in &queue.unrouted_sources {
        *sources.entry(&one.source).or_default() += one.count;
    }
    for (source, count) in sources {
        text.value("unrouted_messages_total", &[("source", source)], count);
    }
    let help = "Second copies of stored messages that clients sent; acknowledged, not stored";
    text.one("messages_resent_total", "counter", help, &[], queue.resent);
    let help =
        "Messages whose body a route asked for, and which is not the JSON that they say it is";
    text.one("messages_not_json_total", "counter", help, &[], queue.not_json);
    let help = "Messages with QoS 0 that came when the queue had no room";
    text.one("messages_refused_total", "counter", help, &[], queue.refused);
    let help = "Bytes of the queue's used pages on disk";
    text.one("queue_used_bytes", "gauge", help, &[], queue.used_bytes);
    if let Some(max) = queue.max_bytes {
        let help = "Most bytes of the queue's used pages on disk";
        text.one("queue_max_bytes", "gauge", help, &[], max);
    }
    let help = "How full the queue is: 0 normal, 1 high (80 % of its budget), 2 full";
    text.one("queue_fill", "gauge", help, &[], queue.fill as u8);
    let help = "Records whose checksum failed";
    text.one("queue_quarantined_total", "counter", help, &[], queue.quarantined);
    let help = "Messages that a salvage of the damaged store could not copy";
    text.one("queue_salvage_lost_total", "counter", help, &[], queue.salvage_lost);
    let help = "Salvages of the damaged store in the last 30 days";
    text.one("queue_salvages", "gauge", help, &[], queue.salvages.len() as u64);
    text.head("queue_messages", "gauge", "Messages owed to the endpoint");
    for e in &queue.endpoints {
        text.value("queue_messages", &[("endpoint", &e.endpoint)], e.messages);
    }
    text.head("queue_bytes", "gauge", "Bytes owed to the endpoint");
    for e in &queue.endpoints {
        text.value("queue_bytes", &[("endpoint", &e.endpoint)], e.bytes);
    }
    text.head("queue_oldest_seconds", "gauge", "Age of the oldest message owed");
    for e in &queue.endpoints {
        let age = e.oldest_seconds.unwrap_or_default();
        text.value("queue_oldest_seconds", &[("endpoint", &e.endpoint)], age);
    }
    let labels = |r: &RouteCounts| [("route", r.route.clone()), ("endpoint", r.endpoint.clone())];
    text.head("route_received_total", "counter", "Messages that the route took");
    for route in &queue.routes {
        text.owned("route_received_total", &labels(route), route.received);
    }
    text.head("route_stored_messages", "gauge", "Messages of the route still owed");
    for route in &queue.routes {
        text.owned("route_stored_messages", &labels(route), route.stored);
    }
    type Get = fn(&RouteCounts) -> u64;
    let gauges: [(&str, &str, Get); 5] = [
        ("route_stored_bytes", "Bytes of the route still owed", |r| r.stored_bytes),
        ("route_oldest_seconds", "Age of the oldest message still owed; at most", |r| {
            r.oldest_seconds.unwrap_or_default()
        }),
        ("route_dead_letters", "Messages refused for good, and kept", |r| r.dead_lettered),
        ("route_dead_letter_bytes", "Bytes of them", |r| r.dead_bytes),
        ("route_paused", "1 if the route is paused", |_| 0),
    ];
    for (name, help, get) in gauges {
        text.head(name, "gauge", help);
        for route in &queue.routes {
            let is_paused = name == "route_paused" && queue.paused.contains(&route.route);
            text.owned(name, &labels(route), get(route) + u64::from(is_paused));
        }
    }
    text.head("route_dead_replayed_total", "counter", "Dead letters that were owed again");
    for route in &queue.routes {
        text.owned("route_dead_replayed_total", &labels(route), route.dead_replayed);
    }
    text.head("route_ended_total", "counter", "Messages of the route that ended, by how");
    for route in &queue.routes {
        let ends = [
            ("delivered", route.delivered),
            ("expired", route.expired),
            // Also those of which something became since: a counter does not fall.
            ("dead-lettered", route.dead_lettered + route.dead_replayed + route.dead_dropped),
            ("evicted", route.evicted),
            ("discarded", route.discarded),
            ("quarantined", route.quarantined),
        ];
        for (end, count) in ends {
            let [route, endpoint] = labels(route);
            text.owned("route_ended_total", &[route, endpoint, ("end", end.into())], count);
        }
    }
}

fn clients(text: &mut Text, overview: &Overview) {
    if let Some(clients) = &overview.clients {
        text.head("clients", "gauge", "Clients online");
        let behind = clients.iter().filter(|client| client.is_behind_edge).count();
        text.value("clients", &[("place", "here")], clients.len() - behind);
        text.value("clients", &[("place", "behind_edge")], behind);
    }
    if let Some(twins) = &overview.twins {
        text.one("twins", "gauge", "Twins kept", &[], twins.twins);
        let help = "Reported patches that the parent has not got yet";
        text.one("twin_pending_patches", "gauge", help, &[], twins.pending_patches);
        let help = "Reported patches that the parent refused";
        text.one("twin_refused_patches", "gauge", help, &[], twins.dead_letters);
        let help = "Changes of reported properties that routes have not seen yet";
        text.one("twin_changes_owed", "gauge", help, &[], twins.changes_owed);
    }
}

fn local_topics(text: &mut Text, local: &LocalStatus) {
    let help = "Messages on local topics, taken from clients";
    text.one("local_topics_published_total", "counter", help, &[], local.published);
    let help = "Copies of them, given to clients";
    text.one("local_topics_delivered_total", "counter", help, &[], local.delivered);
    let help = "Copies that a client was too slow for, or left before";
    text.one("local_topics_dropped_total", "counter", help, &[], local.dropped);
    let help = "Publishes and subscriptions on local topics that no policy allows";
    text.one("local_topics_denied_total", "counter", help, &[], local.denied);
    let help = "Messages that were not retained for want of room";
    text.one("local_topics_unretained_total", "counter", help, &[], local.unretained);
    text.one("local_topics_links", "gauge", "Clients that use local topics", &[], local.links);
    let help = "Topics with a retained message";
    text.one("local_topics_retained", "gauge", help, &[], local.retained);
    let help = "Memory of retained messages, and of what waits for clients";
    text.head("local_topics_bytes", "gauge", help);
    text.value("local_topics_bytes", &[("kind", "retained")], local.retained_bytes);
    text.value("local_topics_bytes", &[("kind", "waiting")], local.waiting_bytes);
}

fn modules(text: &mut Text, overview: &Overview) {
    let Some(agent) = &overview.agent else { return };
    let in_sync = u8::from(overview.in_sync);
    text.one("deployment_in_sync", "gauge", "1 if actual is as desired", &[], in_sync);
    text.head("module_status", "gauge", "1 for the status that the module has");
    for module in &agent.modules {
        text.value("module_status", &[("module", &module.name), ("status", &module.status)], 1);
    }
    text.head("module_restarts_total", "counter", "Restarts of the module's container");
    for module in &agent.modules {
        text.value("module_restarts_total", &[("module", &module.name)], module.restarts);
    }
    type Get = fn(&ModuleStatusLine) -> f64;
    let times: [(&str, &str, Get); 2] = [
        ("module_wanted_seconds_total", "How long the module was to run, since the start", |m| {
            m.wanted_seconds
        }),
        ("module_running_seconds_total", "How long of that it ran, and was healthy", |m| {
            m.running_seconds
        }),
    ];
    for (name, help, get) in times {
        text.head(name, "counter", help);
        for module in agent.modules.iter().filter(|it| it.wanted_seconds > 0.0) {
            text.value(name, &[("module", &module.name)], get(module));
        }
    }
    if let Some(seconds) = agent.deployment_seconds {
        let help = "From reading the last deployment that succeeded to its success";
        text.one("deployment_seconds", "gauge", help, &[], seconds);
    }
    text.head("engine_commands_total", "counter", "Commands to the container engine, by outcome");
    for (command, it) in &overview.commands {
        for (outcome, count) in [("done", it.done), ("failed", it.failed)] {
            let labels = [("command", *command), ("outcome", outcome)];
            text.value("engine_commands_total", &labels, count);
        }
    }
    text.head("engine_command_seconds_total", "counter", "How long they took, together");
    for (command, it) in &overview.commands {
        let seconds = it.took.as_secs_f64();
        text.value("engine_command_seconds_total", &[("command", command)], seconds);
    }
}

/// Connections are counted together: there may be thousands, and their names are device ids.
fn actors(text: &mut Text, tree: &[Snapshot]) {
    #[derive(Default)]
    struct Sum {
        count: u64,
        running: u64,
        restarts: u64,
        lag: f64,
    }
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for actor in tree {
        let path = match actor.path.split_once("/sessions/") {
            Some((above, _)) => format!("{above}/sessions/connection"),
            None => actor.path.clone(),
        };
        let sum = sums.entry(path).or_default();
        sum.count += 1;
        sum.running += u64::from(actor.status == "running");
        sum.restarts += actor.restarts;
        sum.lag = sum.lag.max(actor.lag.unwrap_or_default().as_secs_f64());
    }
    type Get = fn(&Sum) -> f64;
    #[expect(clippy::cast_precision_loss, reason = "counts of actors")]
    let columns: [(&str, &str, &str, Get); 4] = [
        ("actors", "gauge", "Actors at this place of the tree", |s| s.count as f64),
        ("actors_running", "gauge", "Actors that run", |s| s.running as f64),
        ("actor_restarts_total", "counter", "Restarts of the actor", |s| s.restarts as f64),
        ("actor_lag_seconds", "gauge", "How long the actor took to answer", |s| s.lag),
    ];
    for (name, kind, help, get) in columns {
        text.head(name, kind, help);
        sums.iter().for_each(|(path, sum)| text.value(name, &[("actor", path)], get(sum)));
    }
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        _ = write!(
            self.0,
            "# HELP edge_runtime_{name} {help}\n# TYPE edge_runtime_{name} {kind}\n"
        );
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let escape = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value)));
        let labels = labels.collect::<Vec<_>>().join(",");
        _ = match labels.as_str() {
            "" => writeln!(self.0, "edge_runtime_{name} {value}"),
            labels => writeln!(self.0, "edge_runtime_{name}{{{labels}}} {value}"),
        };
    }

    fn owned(&mut self, name: &str, labels: &[(&str, String)], value: u64) {
        let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.value(name, &labels, value);
    }

    fn one(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        self.head(name, kind, help);
        self.value(name, labels, value);
    }
}
