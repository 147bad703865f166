//! `limit` of accounts, programs and operations, and `breaker`, as written.
//!
//! Nothing is required here and nothing has a default.

use std::time::Duration;

use toml::de::DeValue;

use crate::config::error::Fault;
use crate::config::table::{Given, Section, Table};
use crate::config::units::Frequency;

/// `limit` of `[[account]]`.
pub(in crate::config) struct AccountLimit {
    pub(in crate::config) rate: Option<Given<Frequency>>,
    pub(in crate::config) burst: Option<Given<u64>>,
    pub(in crate::config) least: Option<Given<Frequency>>,
    pub(in crate::config) max_wait: Option<Given<Duration>>,
    pub(in crate::config) concurrency: Option<Given<u64>>,
}

impl Section for AccountLimit {
    const TITLE: &'static str = "limit of [[account]]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            rate: table.frequency("rate")?,
            burst: table.count("burst")?,
            max_wait: table.duration("max_wait")?,
            concurrency: table.count("concurrency")?,
            least: table.frequency("least")?,
        })
    }
}

/// `limit` of `[[program]]`.
pub(in crate::config) struct ProgramLimit {
    pub(in crate::config) rate: Option<Given<Frequency>>,
    pub(in crate::config) burst: Option<Given<u64>>,
    pub(in crate::config) concurrency: Option<Given<u64>>,
    pub(in crate::config) share: Option<Given<u64>>,
}

impl Section for ProgramLimit {
    const TITLE: &'static str = "limit of [[program]]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            rate: table.frequency("rate")?,
            burst: table.count("burst")?,
            concurrency: table.count("concurrency")?,
            share: table.count("share")?,
        })
    }
}

/// `limit` of `[[operation]]`.
pub(in crate::config) struct OperationLimit {
    pub(in crate::config) rate: Option<Given<Frequency>>,
    pub(in crate::config) burst: Option<Given<u64>>,
}

impl Section for OperationLimit {
    const TITLE: &'static str = "limit of [[operation]]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self { rate: table.frequency("rate")?, burst: table.count("burst")? })
    }
}

/// `breaker` of `[[account]]`.
pub(in crate::config) struct Breaker {
    pub(in crate::config) failures: Option<Given<u64>>,
    pub(in crate::config) open: Option<Given<Duration>>,
}

impl Section for Breaker {
    const TITLE: &'static str = "breaker";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self { failures: table.count("failures")?, open: table.duration("open")? })
    }
}

/// `"off"` or a table.
pub(super) fn breaker(given: Given<DeValue<'_>>) -> Result<Given<Option<Breaker>>, Fault> {
    let refusal = given.fault("must be \"off\" or { failures = …, open = … }");
    let value = match given.value {
        DeValue::String(word) if word == "off" => None,
        DeValue::Table(table) => Some(Table::read_as(table)?),
        _ => return Err(refusal),
    };
    Ok(Given { key: given.key, at: given.at, value })
}
