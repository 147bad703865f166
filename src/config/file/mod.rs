//! The file as written: every table and key it may have, with the types they are written in.
//!
//! Nothing is required here and nothing has a default: what is missing is `None`, and `check` decides.
//! Secrets are still references here; no file but the configuration's own text is read.

mod callbacks;
mod limit;

use std::time::Duration;

use http::HeaderName;
use toml::de::{DeTable, DeValue};

pub(super) use callbacks::{Inbound, Inbox, Receiver, Source, When};
pub(super) use limit::{AccountLimit, Breaker, OperationLimit, ProgramLimit};

use super::error::{Fault, quote};
use super::table::{Given, Section, Table, entries};

/// The whole file.
pub(super) struct File {
    pub(super) outbound: Option<Given<Outbound>>,
    pub(super) inbound: Option<Given<Inbound>>,
    pub(super) admin: Option<Given<Admin>>,
    pub(super) log: Option<Given<Log>>,
    pub(super) accounts: Vec<Given<Account>>,
    pub(super) programs: Vec<Given<Program>>,
    pub(super) operations: Vec<Given<Operation>>,
    pub(super) sources: Vec<Given<Source>>,
    pub(super) receivers: Vec<Given<Receiver>>,
    pub(super) inbox: Option<Given<Inbox>>,
}

impl File {
    /// Reads a TOML text.
    pub(super) fn parse(written: &str) -> Result<Self, Fault> {
        Table::read_as(document(written)?)
    }
}

fn document(written: &str) -> Result<DeTable<'_>, Fault> {
    // The message of a TOML error names what was expected; its `Display` would show the line too, secrets included.
    let document = DeTable::parse(written).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().trim_end_matches(", expected nothing");
        Fault::at(at, format!("this is not TOML: {message}; correct this line (text needs quotes)"))
    })?;
    Ok(document.into_inner())
}

impl Section for File {
    const TITLE: &'static str = "the file";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            outbound: table.section("outbound")?,
            inbound: table.section("inbound")?,
            admin: table.section("admin")?,
            log: table.section("log")?,
            accounts: table.sections("account")?,
            programs: table.sections("program")?,
            operations: table.sections("operation")?,
            sources: table.sections("source")?,
            receivers: table.sections("receiver")?,
            inbox: table.section("inbox")?,
        })
    }
}

/// `[outbound]`.
#[derive(Default)]
pub(super) struct Outbound {
    pub(super) listen: Option<Given<String>>,
    pub(super) threads: Option<Given<u64>>,
    pub(super) header_timeout: Option<Given<Duration>>,
    pub(super) body_timeout: Option<Given<Duration>>,
    pub(super) keepalive_timeout: Option<Given<Duration>>,
    pub(super) max_header: Option<Given<usize>>,
    pub(super) max_body: Option<Given<usize>>,
    pub(super) max_answer: Option<Given<usize>>,
    pub(super) memory: Option<Given<usize>>,
    pub(super) memory_wait: Option<Given<Duration>>,
    pub(super) max_connections: Option<Given<u64>>,
    pub(super) repair_plus: Option<Given<bool>>,
    pub(super) token_key: Option<Given<Reference>>,
    pub(super) old_token_key: Option<Given<Reference>>,
    pub(super) token_life: Option<Given<Duration>>,
    pub(super) grace: Option<Given<Duration>>,
}

impl Section for Outbound {
    const TITLE: &'static str = "[outbound]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            listen: table.text("listen")?,
            threads: table.count("threads")?,
            header_timeout: table.duration("header_timeout")?,
            body_timeout: table.duration("body_timeout")?,
            keepalive_timeout: table.duration("keepalive_timeout")?,
            max_header: table.size("max_header")?,
            max_body: table.size("max_body")?,
            max_answer: table.size("max_answer")?,
            memory: table.size("memory")?,
            memory_wait: table.duration("memory_wait")?,
            max_connections: table.count("max_connections")?,
            repair_plus: table.flag("repair_plus")?,
            token_key: table.any("token_key").map(reference).transpose()?,
            old_token_key: table.any("old_token_key").map(reference).transpose()?,
            token_life: table.duration("token_life")?,
            grace: table.duration("grace")?,
        })
    }
}

/// `[admin]`.
#[derive(Default)]
pub(super) struct Admin {
    pub(super) listen: Option<Given<String>>,
    pub(super) token: Option<Given<Reference>>,
}

impl Section for Admin {
    const TITLE: &'static str = "[admin]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self { listen: table.text("listen")?, token: table.any("token").map(reference).transpose()? })
    }
}

impl Admin {
    /// This section of a TOML text, whatever the others hold; `None` when there is none.
    pub(super) fn parse(written: &str) -> Result<Option<Self>, Fault> {
        Self::find(document(written)?)
    }

    /// The same of a text that may be no TOML: of what can be read of it.
    pub(super) fn parse_broken(written: &str) -> Result<Option<Self>, Fault> {
        Self::find(DeTable::parse_recoverable(written).0.into_inner())
    }

    fn find(document: DeTable<'_>) -> Result<Option<Self>, Fault> {
        let section = Table::of("the file", document).section("admin")?;
        Ok(section.map(|section| section.value))
    }
}

/// `[log]`.
#[derive(Default)]
pub(super) struct Log {
    pub(super) format: Option<Given<String>>,
    pub(super) traces: Option<Given<String>>,
}

impl Section for Log {
    const TITLE: &'static str = "[log]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self { format: table.text("format")?, traces: table.text("traces")? })
    }
}

/// `[[account]]`.
pub(super) struct Account {
    pub(super) name: Option<Given<String>>,
    pub(super) upstream: Option<Given<String>>,
    pub(super) ca: Option<Given<String>>,
    pub(super) app_key: Option<Given<Reference>>,
    pub(super) app_secret: Option<Given<Reference>>,
    /// `None` inside is `"off"`.
    pub(super) encryption: Option<Given<Option<Encryption>>>,
    pub(super) connect_timeout: Option<Given<Duration>>,
    pub(super) read_timeout: Option<Given<Duration>>,
    pub(super) write_timeout: Option<Given<Duration>>,
    pub(super) idle_timeout: Option<Given<Duration>>,
    pub(super) token_life: Option<Given<Duration>>,
    pub(super) login: Option<Given<Login>>,
    pub(super) limit: Option<Given<AccountLimit>>,
    /// `None` inside is `"off"`.
    pub(super) breaker: Option<Given<Option<Breaker>>>,
}

impl Section for Account {
    const TITLE: &'static str = "[[account]]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            name: table.text("name")?,
            upstream: table.text("upstream")?,
            ca: table.text("ca")?,
            app_key: table.any("app_key").map(reference).transpose()?,
            app_secret: table.any("app_secret").map(reference).transpose()?,
            encryption: table.any("encryption").map(sealing).transpose()?,
            connect_timeout: table.duration("connect_timeout")?,
            read_timeout: table.duration("read_timeout")?,
            write_timeout: table.duration("write_timeout")?,
            idle_timeout: table.duration("idle_timeout")?,
            token_life: table.duration("token_life")?,
            login: table.section("login")?,
            limit: table.section("limit")?,
            breaker: table.any("breaker").map(limit::breaker).transpose()?,
        })
    }
}

/// `encryption = { … }`.
pub(super) struct Encryption {
    pub(super) scheme: Option<Given<String>>,
    pub(super) key: Option<Given<Reference>>,
    pub(super) iv: Option<Given<Iv>>,
    pub(super) content_type: Option<Given<String>>,
    pub(super) empty_query: Option<Given<String>>,
    pub(super) seal_login: Option<Given<bool>>,
}

impl Section for Encryption {
    const TITLE: &'static str = "encryption";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            scheme: table.text("scheme")?,
            key: table.any("key").map(reference).transpose()?,
            iv: table.any("iv").map(iv).transpose()?,
            content_type: table.text("content_type")?,
            empty_query: table.text("empty_query")?,
            seal_login: table.flag("seal_login")?,
        })
    }
}

/// `iv` of `aes-cbc-pkcs7`.
pub(super) enum Iv {
    Prefix,
    /// Written in the file: an IV need not be secret.
    Text(String),
    Reference(Given<Reference>),
}

/// `login = { … }`.
pub(super) struct Login {
    pub(super) burst: Option<Given<u64>>,
    pub(super) every: Option<Given<Duration>>,
}

impl Section for Login {
    const TITLE: &'static str = "login";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self { burst: table.count("burst")?, every: table.duration("every")? })
    }
}

/// `[[program]]`.
pub(super) struct Program {
    pub(super) name: Option<Given<String>>,
    pub(super) key: Option<Given<Reference>>,
    pub(super) secret: Option<Given<Reference>>,
    pub(super) api_key: Option<Given<Reference>>,
    pub(super) account: Option<Given<String>>,
    pub(super) operations: Option<Given<Vec<Given<String>>>>,
    pub(super) limit: Option<Given<ProgramLimit>>,
}

impl Section for Program {
    const TITLE: &'static str = "[[program]]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            name: table.text("name")?,
            key: table.any("key").map(reference).transpose()?,
            secret: table.any("secret").map(reference).transpose()?,
            api_key: table.any("api_key").map(reference).transpose()?,
            account: table.text("account")?,
            operations: table.texts("operations")?,
            limit: table.section("limit")?,
        })
    }
}

/// `[[operation]]`.
pub(super) struct Operation {
    pub(super) name: Option<Given<String>>,
    pub(super) method: Option<Given<String>>,
    pub(super) path: Option<Given<String>>,
    pub(super) encryption: Option<Given<String>>,
    pub(super) headers: Option<Given<Headers>>,
    pub(super) limit: Option<Given<OperationLimit>>,
    pub(super) idempotency: Option<Given<String>>,
}

impl Section for Operation {
    const TITLE: &'static str = "[[operation]]";

    fn read(table: &mut Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            name: table.text("name")?,
            method: table.text("method")?,
            path: table.text("path")?,
            encryption: table.text("encryption")?,
            headers: table.any("headers").map(headers).transpose()?,
            limit: table.section("limit")?,
            idempotency: table.text("idempotency")?,
        })
    }
}

/// `headers` of an operation or a receiver, in the order of the file.
pub(super) type Headers = Vec<(HeaderName, Given<Reference>)>;

/// Where a secret is kept.
pub(super) enum Reference {
    /// Name of an environment variable.
    Env(String),
    /// Path of a file.
    File(String),
}

/// `{ env = … }` or `{ file = … }`. Whatever else stands here may be the secret itself, so it is never shown.
fn reference(given: Given<DeValue<'_>>) -> Result<Given<Reference>, Fault> {
    let Given { key, at, value } = given;
    let is_text = matches!(value, DeValue::String(_));
    let entry = match value {
        DeValue::Table(table) => only_entry(table),
        _ => None,
    };
    match entry {
        Some(Given { key: word, value: DeValue::String(name), .. }) if word == "env" => {
            Ok(Given { key, at, value: Reference::Env(name.into_owned()) })
        }
        Some(Given { key: word, value: DeValue::String(path), .. }) if word == "file" => {
            Ok(Given { key, at, value: Reference::File(path.into_owned()) })
        }
        _ if is_text => Err(Fault::at(
            at,
            format!(
                "{key} is written as text; keep secrets out of this file and write where it is kept, \
                 {{ env = \"NAME\" }} or {{ file = \"PATH\" }}"
            ),
        )),
        _ => Err(Fault::at(at, format!("{key} must be {{ env = \"NAME\" }} or {{ file = \"PATH\" }}"))),
    }
}

/// The entry of a table that has exactly one.
fn only_entry(table: DeTable<'_>) -> Option<Given<DeValue<'_>>> {
    let mut entries = entries(table);
    entries.pop().filter(|_| entries.is_empty())
}

/// `"off"` or a table. A key written here by mistake is not shown.
fn sealing(given: Given<DeValue<'_>>) -> Result<Given<Option<Encryption>>, Fault> {
    let refusal = given.fault("must be \"off\" or { scheme = …, key = … }");
    let value = match given.value {
        DeValue::String(word) if word == "off" => None,
        DeValue::Table(table) => Some(Table::read_as(table)?),
        _ => return Err(refusal),
    };
    Ok(Given { key: given.key, at: given.at, value })
}

/// `"prefix"`, `{ fixed = "…" }` or `{ fixed = { env = … } }`.
fn iv(given: Given<DeValue<'_>>) -> Result<Given<Iv>, Fault> {
    let refusal = given.fault("must be \"prefix\" or { fixed = … } with 16 characters or a reference");
    let Given { key, at, value } = given;
    let value = match value {
        DeValue::String(word) if word == "prefix" => Iv::Prefix,
        DeValue::Table(table) => match only_entry(table).filter(|entry| entry.key == "fixed") {
            Some(Given { value: DeValue::String(written), .. }) => Iv::Text(written.into_owned()),
            Some(fixed) => Iv::Reference(reference(Given { key: key.clone(), ..fixed })?),
            None => return Err(refusal),
        },
        _ => return Err(refusal),
    };
    Ok(Given { key, at, value })
}

/// Any names, each with a reference.
fn headers(given: Given<DeValue<'_>>) -> Result<Given<Headers>, Fault> {
    let refusal = given.fault("must be a table of header names, such as { token = { env = \"NAME\" } }");
    let DeValue::Table(table) = given.value else { return Err(refusal) };
    let mut value = Vec::new();
    for Given { key, at, value: written } in entries(table) {
        let Ok(name) = HeaderName::from_bytes(key.as_bytes()) else {
            return Err(Fault::at(at, format!("{} is no header name; use letters, digits and -", quote(&key))));
        };
        let key = format!("header {name}");
        value.push((name, reference(Given { key, at, value: written })?));
    }
    Ok(Given { key: given.key, at: given.at, value })
}
