//! What conditions have read of one message, kept for all of them: its properties once, its body
//! once, and each only if one asks.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use super::body::decoded;
use super::inbound::{Inbound, System, WIRES, wire_number};
use super::names::{Names, Origin};
use super::value::Value;

/// See the module documentation.
pub(super) struct Reading<'m> {
    message: Option<&'m Inbound<'m>>,
    names: &'m Names,
    properties: OnceCell<Properties<'m>>,
    body: OnceCell<Option<Vec<Value<'m>>>>,
    parses: Cell<u32>,
    is_bad: Cell<bool>,
}

struct Properties<'m> {
    apps: Vec<Value<'m>>,
    wires: [Value<'m>; WIRES],
}

impl<'m> Reading<'m> {
    pub(super) fn new(message: Option<&'m Inbound<'m>>, names: &'m Names) -> Self {
        Reading {
            message,
            names,
            properties: OnceCell::new(),
            body: OnceCell::new(),
            parses: Cell::new(0),
            is_bad: Cell::new(false),
        }
    }

    /// How often the body was parsed: never, or once.
    pub(super) fn parses(&self) -> u32 {
        self.parses.get()
    }

    /// Whether a condition asked for the body, and it is not the JSON that the message says it is.
    pub(super) fn is_bad(&self) -> bool {
        self.is_bad.get()
    }

    pub(super) fn get(&self, origin: Origin) -> Value<'_> {
        let app = |app: usize| {
            let value = &self.properties().apps[app];
            value.is_defined().then(|| value.borrow())
        };
        match origin {
            Origin::App(number) => app(number).unwrap_or(Value::Undefined),
            Origin::Either(number, system) => app(number).unwrap_or_else(|| self.system(system)),
            Origin::System(system) => self.system(system),
            Origin::Body(number, place) => app(number).unwrap_or_else(|| self.of_body(place)),
            Origin::BodyOnly(place) => self.of_body(place),
        }
    }

    fn system(&self, system: System) -> Value<'_> {
        match system {
            System::Wire(number) => self.properties().wires[number].borrow(),
            system => {
                let stamped = self.message.and_then(|message| message.stamped(system));
                stamped.map_or(Value::Undefined, Value::text)
            }
        }
    }

    fn properties(&self) -> &Properties<'m> {
        self.properties.get_or_init(|| {
            let mut found = Properties {
                apps: vec![Value::Undefined; self.names.apps()],
                wires: [const { Value::Undefined }; WIRES],
            };
            for (name, value) in self.message.iter().flat_map(|message| message.bag.pairs()) {
                let place = match wire_number(&name) {
                    Some(wire) => &mut found.wires[wire],
                    None => match self.names.find_app(&name) {
                        Some(app) => &mut found.apps[app],
                        None => continue,
                    },
                };
                if !place.is_defined() {
                    *place = Value::of_property(value);
                }
            }
            found
        })
    }

    fn of_body(&self, place: usize) -> Value<'_> {
        let body = self.body.get_or_init(|| self.parse());
        body.as_ref().map_or(Value::Undefined, |body| body[place].borrow())
    }

    /// Only what says that it is JSON, in an encoding that is known.
    fn parse(&self) -> Option<Vec<Value<'m>>> {
        let Inbound { bag, body, .. } = self.message?;
        let kind = bag.value("$.ct").filter(|it| it.eq_ignore_ascii_case("application/json"))?;
        let encoding = bag.value("$.ce").filter(|_| !kind.is_empty())?;
        let known = ["utf-8", "utf-16", "utf-32"];
        known.iter().find(|known| known.eq_ignore_ascii_case(&encoding))?;
        self.parses.set(self.parses.get() + 1);
        let places = self.names.places();
        let body = match decoded(&encoding, body) {
            Some(Cow::Borrowed(text)) => places.read(text),
            Some(Cow::Owned(text)) => {
                places.read(&text).map(|values| values.into_iter().map(Value::into_owned).collect())
            }
            None => None,
        };
        self.is_bad.set(body.is_none());
        body
    }
}
