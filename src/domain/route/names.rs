//! All names that conditions use, each once: what a message has under them is looked up once for all
//! conditions.

use super::body::Places;
use super::expr::Name;
use super::fold::{compare, folded};
use super::inbound::System;
use super::path::BodyPath;

/// Number of an application property.
pub(super) type App = usize;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An application property.
    App(App),
    /// An application property, if it is there; else a system property.
    Either(App, System),
    /// A system property.
    System(System),
    /// An application property, if it is there; else a place in the body.
    Body(App, usize),
    /// A place in the body.
    BodyOnly(usize),
}

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Folded, in order; with the numbers of the application properties.
    apps: Vec<(Box<str>, App)>,
    places: Places,
}

impl Names {
    /// Notes a name.
    pub(super) fn note(&mut self, name: &Name) -> Origin {
        match name {
            Name::App(name) => Origin::App(self.app(name)),
            Name::Either(name) => {
                Origin::Either(self.app(&format!("${name}")), System::parse(name))
            }
            Name::System(name) => Origin::System(System::parse(name)),
            Name::Body(path) => Origin::Body(self.app(&format!("$body.{path}")), self.place(path)),
            Name::BodyOnly(path) => Origin::BodyOnly(self.place(path)),
        }
    }

    fn app(&mut self, name: &str) -> App {
        let name = folded(name);
        match self.apps.binary_search_by(|(other, _)| other.cmp(&name)) {
            Ok(at) => self.apps[at].1,
            Err(at) => {
                let number = self.apps.len();
                self.apps.insert(at, (name, number));
                number
            }
        }
    }

    fn place(&mut self, path: &BodyPath) -> usize {
        self.places.note(path)
    }

    /// The number of an application property that some condition uses.
    pub(super) fn find_app(&self, name: &str) -> Option<App> {
        let at = self.apps.binary_search_by(|(other, _)| compare(other, name)).ok()?;
        Some(self.apps[at].1)
    }

    /// How many application properties there are.
    pub(super) fn apps(&self) -> usize {
        self.apps.len()
    }

    /// All places in bodies.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }
}
