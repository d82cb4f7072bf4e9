//! Reads one TOML file against the keys that there are: each value with its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::SettingsError;
use super::kind::{Given, Kind};
use super::schema::{Schema, nearest};

/// A key that a file sets, and where: `name:line`.
pub(super) type Found = (String, String);

/// Checks a file; gives the keys that it sets, in its order.
pub(super) fn check(schema: &Schema, name: &str, text: &str) -> Result<Vec<Found>, SettingsError> {
    let place = |at: usize| format!("{name}:{}", 1 + text[..at].matches('\n').count());
    let table = DeTable::parse(text).map_err(|e| SettingsError::Syntax {
        place: place(e.span().map_or(0, |span| span.start.min(text.len()))),
        why: format!("not TOML: {}", e.message()), // without the line: it may hold a key
    })?;
    let mut reader = Reader { schema, place: &place, found: Vec::new() };
    reader.table("", table.get_ref())?;
    Ok(reader.found)
}

struct Reader<'a> {
    schema: &'a Schema,
    place: &'a dyn Fn(usize) -> String,
    found: Vec<Found>,
}

impl Reader<'_> {
    fn table(&mut self, above: &str, table: &DeTable<'_>) -> Result<(), SettingsError> {
        for (name, value) in table {
            let place = (self.place)(name.span().start);
            let dot = if above.is_empty() { "" } else { "." };
            let key = format!("{above}{dot}{}", name.get_ref());
            match (self.schema.kind(&key), value.get_ref()) {
                (Ok(Kind::Tables(keys, needed)), DeValue::Array(items)) => {
                    let mut items = items.iter();
                    let tables = items.try_for_each(|item| self.item(&key, keys, needed, item));
                    tables?;
                    self.found.push((key, place));
                }
                (Ok(kind), value) => {
                    let given = given(value);
                    let wrong =
                        |why| SettingsError::Wrong { place: place.clone(), key: key.clone(), why };
                    kind.check(&given).map_err(wrong)?;
                    self.found.push((key, place));
                }
                (Err(_), DeValue::Table(table)) if self.schema.is_section(&key) => {
                    self.table(&key, table)?;
                }
                (Err(_), DeValue::Table(table)) if !table.is_empty() => self.table(&key, table)?,
                (Err(_), value) if self.schema.is_section(&key) => {
                    let why = format!("is a section, written [{key}], not {}", value.type_str());
                    return Err(SettingsError::Wrong { place, key, why });
                }
                (Err(nearest), _) => return Err(SettingsError::Unknown { place, key, nearest }),
            }
        }
        Ok(())
    }

    fn item(
        &self,
        list: &str,
        keys: &[(&str, Kind)],
        needed: &[&str],
        item: &Spanned<DeValue<'_>>,
    ) -> Result<(), SettingsError> {
        let DeValue::Table(table) = item.get_ref() else {
            let why = Kind::Text.check(&given(item.get_ref())).err().unwrap_or_default();
            let why = format!("expects a list of tables {why}");
            let place = (self.place)(item.span().start);
            return Err(SettingsError::Wrong { place, key: list.into(), why });
        };
        for (name, value) in table {
            let place = (self.place)(name.span().start);
            let key = format!("{list}.{}", name.get_ref());
            match keys.iter().find(|(key, _)| key == name.get_ref()) {
                Some((_, kind)) => kind
                    .check(&given(value.get_ref()))
                    .map_err(|why| SettingsError::Wrong { place, key, why })?,
                None => {
                    let nearest = nearest(name.get_ref(), keys.iter().map(|(name, _)| *name));
                    let nearest = nearest.map(|name| format!("{list}.{name}"));
                    return Err(SettingsError::Unknown { place, key, nearest });
                }
            }
        }
        let has = |key: &str| table.iter().any(|(name, _)| name.get_ref() == key);
        match needed.iter().find(|key| !has(key)) {
            Some(missing) => Err(SettingsError::Wrong {
                place: (self.place)(item.span().start),
                key: list.into(),
                why: format!("has an entry without `{missing}`"),
            }),
            None => Ok(()),
        }
    }
}

fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Given::Other("so large a number"), Given::Number),
        DeValue::Array(items) => {
            let text = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
            let texts: Option<Vec<_>> = items.iter().map(text).collect();
            texts.map_or(Given::Other("a list of something else"), Given::List)
        }
        DeValue::Float(_) => Given::Other("a fraction"),
        DeValue::Boolean(value) => Given::Switch(*value),
        DeValue::Datetime(_) => Given::Other("a time"),
        DeValue::Table(_) => Given::Other("a table"),
    }
}
