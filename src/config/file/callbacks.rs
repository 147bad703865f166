//! The tables of callbacks as written: `[inbound]`, `[[source]]`, `[[receiver]]` and `[inbox]`.
//!
//! As in the rest of the file, nothing is required here and nothing has a default.

use std::time::Duration;

use serde_json::Value;
use toml::de::DeValue;

use super::{Headers, Reference, headers, reference};
use crate::config::error::Fault;
use crate::config::table::{Given, Section, Table};

/// `[inbound]`.
#[derive(Default)]
pub(in crate::config) struct Inbound {
    pub(in crate::config) listen: Option<Given<String>>,
    pub(in crate::config) threads: Option<Given<u64>>,
    pub(in crate::config) tls: Option<Given<Tls>>,
    pub(in crate::config) header_timeout: Option<Given<Duration>>,
    pub(in crate::config) body_timeout: Option<Given<Duration>>,
    pub(in crate::config) keepalive_timeout: Option<Given<Duration>>,
    pub(in crate::config) max_header: Option<Given<usize>>,
    pub(in crate::config) max_body: Option<Given<usize>>,
    pub(in crate::config) memory: Option<Given<usize>>,
    pub(in crate::config) max_connections: Option<Given<u64>>,
    pub(in crate::config) max_connections_per_address: Option<Given<u64>>,
    pub(in crate::config) trusted_proxies: Option<Given<Vec<Given<String>>>>,
}

impl Section for Inbound {
    const TITLE: &'static str = "[inbound]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            listen: table.text("listen")?,
            threads: table.count("threads")?,
            tls: table.section("tls")?,
            header_timeout: table.duration("header_timeout")?,
            body_timeout: table.duration("body_timeout")?,
            keepalive_timeout: table.duration("keepalive_timeout")?,
            max_header: table.size("max_header")?,
            max_body: table.size("max_body")?,
            memory: table.size("memory")?,
            max_connections: table.count("max_connections")?,
            max_connections_per_address: table.count("max_connections_per_address")?,
            trusted_proxies: table.texts("trusted_proxies")?,
        })
    }
}

/// `tls = { … }`: the certificate that the listener shows.
pub(in crate::config) struct Tls {
    pub(in crate::config) cert: Option<Given<String>>,
    pub(in crate::config) key: Option<Given<String>>,
}

impl Section for Tls {
    const TITLE: &'static str = "tls";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self { cert: table.text("cert")?, key: table.text("key")? })
    }
}

/// `identity = { … }`: the certificate that a receiver is shown.
pub(in crate::config) struct Identity {
    pub(in crate::config) cert: Option<Given<String>>,
    pub(in crate::config) key: Option<Given<String>>,
}

impl Section for Identity {
    const TITLE: &'static str = "identity";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self { cert: table.text("cert")?, key: table.text("key")? })
    }
}

/// `[[source]]`.
pub(in crate::config) struct Source {
    pub(in crate::config) name: Option<Given<String>>,
    pub(in crate::config) path: Option<Given<String>>,
    pub(in crate::config) account: Option<Given<String>>,
    pub(in crate::config) encryption: Option<Given<String>>,
    pub(in crate::config) mode: Option<Given<String>>,
    pub(in crate::config) relay_timeout: Option<Given<Duration>>,
    pub(in crate::config) allow: Option<Given<Vec<Given<String>>>>,
    pub(in crate::config) receivers: Option<Given<Vec<Given<String>>>>,
    pub(in crate::config) quarantine: Option<Given<u64>>,
}

impl Section for Source {
    const TITLE: &'static str = "[[source]]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            name: table.text("name")?,
            path: table.text("path")?,
            account: table.text("account")?,
            encryption: table.text("encryption")?,
            mode: table.text("mode")?,
            relay_timeout: table.duration("relay_timeout")?,
            allow: table.texts("allow")?,
            receivers: table.texts("receivers")?,
            quarantine: table.count("quarantine")?,
        })
    }
}

/// `[[receiver]]`.
pub(in crate::config) struct Receiver {
    pub(in crate::config) name: Option<Given<String>>,
    pub(in crate::config) url: Option<Given<String>>,
    pub(in crate::config) ca: Option<Given<String>>,
    pub(in crate::config) identity: Option<Given<Identity>>,
    pub(in crate::config) secret: Option<Given<Reference>>,
    pub(in crate::config) old_secret: Option<Given<Reference>>,
    pub(in crate::config) headers: Option<Given<Headers>>,
    pub(in crate::config) concurrency: Option<Given<u64>>,
    pub(in crate::config) timeout: Option<Given<Duration>>,
    pub(in crate::config) retry: Option<Given<Vec<Given<Duration>>>>,
    pub(in crate::config) bury: Option<Given<Vec<Given<u64>>>>,
    pub(in crate::config) when: Option<Given<When>>,
}

impl Section for Receiver {
    const TITLE: &'static str = "[[receiver]]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            name: table.text("name")?,
            url: table.text("url")?,
            ca: table.text("ca")?,
            identity: table.section("identity")?,
            secret: table.any("secret").map(reference).transpose()?,
            old_secret: table.any("old_secret").map(reference).transpose()?,
            headers: table.any("headers").map(headers).transpose()?,
            concurrency: table.count("concurrency")?,
            timeout: table.duration("timeout")?,
            retry: table.durations("retry")?,
            bury: table.counts("bury")?,
            when: table.section("when")?,
        })
    }
}

/// `when = { … }`.
pub(in crate::config) struct When {
    pub(in crate::config) pointer: Option<Given<String>>,
    pub(in crate::config) equals: Option<Given<Value>>,
}

impl Section for When {
    const TITLE: &'static str = "when";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self { pointer: table.text("pointer")?, equals: table.any("equals").map(scalar).transpose()? })
    }
}

/// `[inbox]`.
#[derive(Default)]
pub(in crate::config) struct Inbox {
    pub(in crate::config) path: Option<Given<String>>,
    pub(in crate::config) retain: Option<Given<Duration>>,
    pub(in crate::config) keep_answers: Option<Given<Duration>>,
    pub(in crate::config) max_bytes: Option<Given<usize>>,
    pub(in crate::config) ledger: Option<Given<Duration>>,
    pub(in crate::config) ledger_max_bytes: Option<Given<usize>>,
    pub(in crate::config) key: Option<Given<Reference>>,
    pub(in crate::config) key_file: Option<Given<String>>,
    pub(in crate::config) old_keys: Option<Given<Vec<Given<Reference>>>>,
}

impl Section for Inbox {
    const TITLE: &'static str = "[inbox]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            path: table.text("path")?,
            retain: table.duration("retain")?,
            keep_answers: table.duration("keep_answers")?,
            max_bytes: table.size("max_bytes")?,
            ledger: table.duration("ledger")?,
            ledger_max_bytes: table.size("ledger_max_bytes")?,
            key: table.any("key").map(reference).transpose()?,
            key_file: table.text("key_file")?,
            old_keys: table.any("old_keys").map(references).transpose()?,
        })
    }
}

/// `[{ env = … }, { file = … }]`.
fn references(given: Given<DeValue<'_>>) -> Result<Given<Vec<Given<Reference>>>, Fault> {
    let Some(items) = given.items() else {
        return Err(given.fault("must be a list of references, such as [{ env = \"NAME\" }]"));
    };
    let value = items.into_iter().map(reference).collect::<Result<_, _>>()?;
    Ok(Given { key: given.key, at: given.at, value })
}

/// Text, a number, true or false, as JSON has them.
fn scalar(given: Given<DeValue<'_>>) -> Result<Given<Value>, Fault> {
    let value = match &given.value {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(flag) => Some(Value::from(*flag)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from),
        _ => None,
    };
    match value {
        Some(value) => Ok(Given { key: given.key, at: given.at, value }),
        None => Err(given.fault("must be text in quotes, a number, true or false")),
    }
}
