//! The routes in force, and who wins a message.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::condition::{Condition, Observer};
use super::index::SourceIndex;
use super::names::Names;
use super::reading::Reading;
use super::{Inbound, Route};
use crate::domain::row::{Endpoint, Priority};

/// Immutable, swapped whole, numbered by generation. A table of generation 0 was never set.
#[derive(Clone, Debug)]
pub struct RouteTable {
    generation: u64,
    /// By priority, then name by bytes: of several that go to one place the first wins.
    routes: Vec<Route>,
    /// What each of them needs to be judged.
    ready: Vec<Ready>,
    index: SourceIndex,
    names: Names,
    places: usize,
    global_ttl: Option<u64>,
    max_bytes: Option<u64>,
}

#[derive(Clone, Debug)]
struct Ready {
    condition: Option<Condition>,
    /// Number of its endpoint and input.
    place: usize,
}

/// A row that a message makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Win {
    /// Name of the route that won.
    pub route: Arc<str>,
    /// Whose row.
    pub endpoint: Endpoint,
    /// The input of the module, if the endpoint is one.
    pub input: Option<Arc<str>>,
    /// Of the route.
    pub priority: Priority,
    /// Of the route, in seconds; `None`: the global one applies.
    pub ttl: Option<u64>,
}

/// What came of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One row for each endpoint and input that a route takes the message to.
    pub wins: Vec<Win>,
    /// How often its body was parsed: not at all, if no condition asked for it; else once.
    pub parses: u32,
    /// A condition asked for its body, which is not the JSON that the message says it is.
    pub is_body_bad: bool,
}

/// What came of a message at one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Its source is another one.
    OtherSource,
    /// Its condition is not true: false, or undefined (`None`).
    Refused(Option<bool>),
    /// It would take it, but one that comes before it takes it to the same place.
    Beaten,
    /// It takes it.
    Wins,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new(0, Vec::new(), None)
    }
}

/// Two tables are alike if they say the same.
impl PartialEq for RouteTable {
    fn eq(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.generation, it.global_ttl, it.max_bytes);
        of(self) == of(other) && self.routes == other.routes
    }
}

impl RouteTable {
    /// A table of these routes; `global_ttl` is for those without a time to live of their own.
    pub fn new(generation: u64, mut routes: Vec<Route>, global_ttl: Option<u64>) -> Self {
        routes.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        let (mut names, mut places) = (Names::default(), BTreeMap::new());
        let mut ready = Vec::with_capacity(routes.len());
        for route in &routes {
            let next = places.len();
            let place = *places.entry((&*route.endpoint.0, route.input.as_deref())).or_insert(next);
            let condition = route.condition.as_ref();
            let condition = condition.map(|expr| Condition::new(expr, &mut names));
            ready.push(Ready { condition, place });
        }
        let places = places.len();
        let index = SourceIndex::new(routes.iter().map(|route| &route.source));
        RouteTable { generation, routes, ready, index, names, places, global_ttl, max_bytes: None }
    }

    /// With the most bytes that the queue may take on disk.
    pub fn with_max_bytes(self, max_bytes: Option<u64>) -> Self {
        RouteTable { max_bytes, ..self }
    }

    /// Its number.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// By priority, then name.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Seconds that messages live whose route says nothing; `None`: for ever.
    pub fn global_ttl(&self) -> Option<u64> {
        self.global_ttl
    }

    /// Most bytes of the queue on disk; `None`: as the device's own settings say.
    pub fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// The route of this name.
    pub fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| &*route.name == name)
    }

    /// How many seconds messages of the route live: its own time to live, else the global one, which
    /// is also for what is stored of a route that is gone; `None`: for ever.
    pub fn ttl_of(&self, route: &str) -> Option<u64> {
        self.route(route).and_then(|route| route.ttl).or(self.global_ttl)
    }

    /// One row for each endpoint and input that a route takes the message to.
    pub fn winners(&self, message: &Inbound<'_>) -> Vec<Win> {
        self.judge(message, &mut ()).wins
    }

    /// The same, and how it came about. Whoever watches sees every route; what comes of the message
    /// does not depend on it.
    pub fn judge<O: Observer>(&self, message: &Inbound<'_>, seen: &mut O) -> Outcome {
        let reading = Reading::new(Some(message), &self.names);
        let mut taken = Taken::new(self.places);
        let mut wins = Vec::new();
        let candidates = self.index.candidates(message);
        for at in Candidates::new::<O>(candidates, self.routes.len()) {
            let (route, ready) = (&self.routes[at], &self.ready[at]);
            if O::EVERY && !route.source.covers(message) {
                seen.route(route, Judged::OtherSource);
                continue;
            }
            let is_taken = taken.has(ready.place);
            if is_taken && !O::EVERY {
                continue;
            }
            let truth = match &ready.condition {
                Some(condition) => condition.truth(&reading, seen),
                None => Some(true),
            };
            let judged = match truth {
                Some(true) if is_taken => Judged::Beaten,
                Some(true) => Judged::Wins,
                truth => Judged::Refused(truth),
            };
            if judged == Judged::Wins {
                taken.add(ready.place);
                wins.push(route.win());
            }
            seen.route(route, judged);
        }
        Outcome { wins, parses: reading.parses(), is_body_bad: reading.is_bad() }
    }
}

/// The routes to look at: those of the source, or all for whoever watches.
enum Candidates<'a> {
    OfSource(std::slice::Iter<'a, usize>),
    All(std::ops::Range<usize>),
}

impl<'a> Candidates<'a> {
    fn new<O: Observer>(of_source: &'a [usize], all: usize) -> Self {
        if O::EVERY { Candidates::All(0..all) } else { Candidates::OfSource(of_source.iter()) }
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Candidates::OfSource(some) => some.next().copied(),
            Candidates::All(all) => all.next(),
        }
    }
}

/// A set of places.
struct Taken {
    few: u64,
    many: Vec<u64>,
}

impl Taken {
    fn new(places: usize) -> Self {
        Taken { few: 0, many: vec![0; places.saturating_sub(1) / 64] }
    }

    fn part(&mut self, place: usize) -> &mut u64 {
        match place / 64 {
            0 => &mut self.few,
            part => &mut self.many[part - 1],
        }
    }

    fn has(&mut self, place: usize) -> bool {
        *self.part(place) & (1 << (place % 64)) != 0
    }

    fn add(&mut self, place: usize) {
        *self.part(place) |= 1 << (place % 64);
    }
}
