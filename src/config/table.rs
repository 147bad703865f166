//! One table of the parsed document, asked key by key.
//!
//! The keys that are asked for are the known ones; [`Table::finish`] refuses the rest and lists them, so
//! the list can never differ from what is read. It knows types and places, never what a value means.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Fault, quote};
use super::units;
use super::units::Frequency;

/// A value as written: under which key, and where.
pub(super) struct Given<T> {
    /// The key, for sentences.
    pub(super) key: String,
    /// Byte offset of the value.
    pub(super) at: usize,
    pub(super) value: T,
}

impl<T> Given<T> {
    /// A sentence about this value, beginning with its key.
    pub(super) fn fault(&self, rest: impl AsRef<str>) -> Fault {
        Fault::at(self.at, format!("{} {}", self.key, rest.as_ref()))
    }

    fn with<U>(&self, value: U) -> Given<U> {
        Given { key: self.key.clone(), at: self.at, value }
    }
}

impl<'a> Given<DeValue<'a>> {
    /// The items of a list, under its key, each with its own place; `None` when it is none.
    pub(super) fn items(&self) -> Option<Vec<Given<DeValue<'a>>>> {
        let DeValue::Array(items) = &self.value else { return None };
        let item = |item: &Spanned<DeValue<'a>>| Given {
            key: self.key.clone(),
            at: item.span().start,
            value: item.get_ref().clone(),
        };
        Some(items.iter().map(item).collect())
    }
}

/// A table of the file that is read into a struct of its own.
pub(super) trait Section: Sized {
    /// How sentences call it: `[outbound]`, `[[account]]`, or the key of an inline table.
    const TITLE: &'static str;

    /// Asks for every key; those that are left are unknown.
    fn read(table: &mut Table<'_>) -> Result<Self, Fault>;
}

/// A table that is being read.
pub(super) struct Table<'a> {
    title: &'static str,
    /// What nothing has asked for yet, in the order of the file.
    left: Vec<Given<DeValue<'a>>>,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// Reads a whole table: every key known, every value of its type.
    pub(super) fn read_as<S: Section>(table: DeTable<'a>) -> Result<S, Fault> {
        let mut table = Self::of(S::TITLE, table);
        let section = S::read(&mut table)?;
        table.finish()?;
        Ok(section)
    }

    /// A table of which some keys are asked for; the others do not matter.
    pub(super) fn of(title: &'static str, table: DeTable<'a>) -> Self {
        Self { title, left: entries(table), asked: Vec::new() }
    }

    /// The value as it is, for keys with more than one shape.
    pub(super) fn any(&mut self, key: &'static str) -> Option<Given<DeValue<'a>>> {
        self.asked.push(key);
        let found = self.left.iter().position(|entry| entry.key == key)?;
        Some(self.left.remove(found))
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<Given<String>>, Fault> {
        let Some(given) = self.any(key) else { return Ok(None) };
        match &given.value {
            DeValue::String(written) => Ok(Some(given.with(written.clone().into_owned()))),
            other => Err(given.fault(format!("must be text in quotes, not {}", kind(other)))),
        }
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<Given<bool>>, Fault> {
        let Some(given) = self.any(key) else { return Ok(None) };
        match &given.value {
            DeValue::Boolean(flag) => Ok(Some(given.with(*flag))),
            other => Err(given.fault(format!("must be true or false, not {}", kind(other)))),
        }
    }

    /// A whole number from zero up.
    pub(super) fn count(&mut self, key: &'static str) -> Result<Option<Given<u64>>, Fault> {
        let Some(given) = self.any(key) else { return Ok(None) };
        match &given.value {
            DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Ok(Some(given.with(number))),
                Err(_) => Err(given.fault("must be a whole number that is not negative")),
            },
            other => Err(given.fault(format!("must be a whole number, not {}", kind(other)))),
        }
    }

    /// `["…", "…"]`, each with its own place.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Option<Given<Vec<Given<String>>>>, Fault> {
        self.list(key, "text in quotes", |item| match &item.value {
            DeValue::String(written) => Some(written.clone().into_owned()),
            _ => None,
        })
    }

    /// `[400, 422]`: whole numbers from zero up, each with its own place.
    pub(super) fn counts(&mut self, key: &'static str) -> Result<Option<Given<Vec<Given<u64>>>>, Fault> {
        self.list(key, "whole numbers", |item| match &item.value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        })
    }

    /// `["5s", "1m"]`, each with its own place.
    pub(super) fn durations(&mut self, key: &'static str) -> Result<Option<Given<Vec<Given<Duration>>>>, Fault> {
        let Some(given) = self.texts(key)? else { return Ok(None) };
        let items = given.value.iter().map(|item| match units::duration(&item.value) {
            Ok(duration) => Ok(item.with(duration)),
            Err(rest) => Err(item.fault(rest)),
        });
        let value = items.collect::<Result<_, _>>()?;
        Ok(Some(given.with(value)))
    }

    fn list<T>(
        &mut self,
        key: &'static str,
        of: &str,
        read: impl Fn(&Given<DeValue<'a>>) -> Option<T>,
    ) -> Result<Option<Given<Vec<Given<T>>>>, Fault> {
        let Some(given) = self.any(key) else { return Ok(None) };
        let items = given.items().ok_or_else(|| given.fault(format!("must be a list of {of}, in brackets")))?;
        let items = items.iter().map(|item| match read(item) {
            Some(value) => Ok(item.with(value)),
            None => Err(item.fault(format!("must be a list of {of}, but holds {}", kind(&item.value)))),
        });
        let value = items.collect::<Result<_, _>>()?;
        Ok(Some(given.with(value)))
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Given<Duration>>, Fault> {
        self.measure(key, "10s", units::duration)
    }

    /// `"50/s"`.
    pub(super) fn frequency(&mut self, key: &'static str) -> Result<Option<Given<Frequency>>, Fault> {
        self.measure(key, "50/s", units::frequency)
    }

    /// In bytes.
    pub(super) fn size(&mut self, key: &'static str) -> Result<Option<Given<usize>>, Fault> {
        self.measure(key, "16MiB", units::size)
    }

    pub(super) fn section<S: Section>(&mut self, key: &'static str) -> Result<Option<Given<S>>, Fault> {
        let Some(given) = self.any(key) else { return Ok(None) };
        match given.value {
            DeValue::Table(table) => Ok(Some(Given { key: given.key, at: given.at, value: Self::read_as(table)? })),
            ref other if S::TITLE.starts_with('[') => {
                Err(given.fault(format!("must be a table, written {}, not {}", S::TITLE, kind(other))))
            }
            ref other => Err(given.fault(format!("must be a table in braces, not {}", kind(other)))),
        }
    }

    /// The tables of `[[key]]`, in the order of the file.
    pub(super) fn sections<S: Section>(&mut self, key: &'static str) -> Result<Vec<Given<S>>, Fault> {
        let Some(given) = self.any(key) else { return Ok(Vec::new()) };
        let refusal = given.fault(format!("must be written {}, with two brackets, once for each", S::TITLE));
        let DeValue::Array(items) = given.value else { return Err(refusal) };
        let mut sections = Vec::with_capacity(items.len());
        for item in items {
            let at = item.span().start;
            let DeValue::Table(table) = item.into_inner() else { return Err(refusal) };
            sections.push(Given { key: key.to_owned(), at, value: Self::read_as(table)? });
        }
        Ok(sections)
    }

    fn measure<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Given<T>>, Fault> {
        let Some(given) = self.any(key) else { return Ok(None) };
        match &given.value {
            DeValue::String(written) => {
                let value = read(written).map_err(|refusal| given.fault(refusal))?;
                Ok(Some(given.with(value)))
            }
            other => Err(given.fault(format!("must be text with a unit, such as \"{example}\", not {}", kind(other)))),
        }
    }

    /// Refuses the first key that nothing asked for.
    fn finish(self) -> Result<(), Fault> {
        let Some(unknown) = self.left.first() else { return Ok(()) };
        let sentence =
            format!("unknown key {} in {}; known keys are {}", quote(&unknown.key), self.title, self.asked.join(", "));
        Err(Fault::at(unknown.at, sentence))
    }
}

/// The entries of a table in the order of the file.
pub(super) fn entries(table: DeTable<'_>) -> Vec<Given<DeValue<'_>>> {
    let mut entries: Vec<_> = table
        .into_iter()
        .map(|(key, value)| {
            let at = value.span().start;
            Given { key: key.into_inner().into_owned(), at, value: value.into_inner() }
        })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

/// What a value is, without showing it.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
