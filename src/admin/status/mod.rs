//! What the status page shows, as JSON: is all well, and what everybody does, now and within the last hour.
//!
//! Names, counts, times and stable words only. It reads series and tokens' ages, asks no disk, and changes nothing.

mod health;
mod history;
mod reading;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use health::Facts;
use history::Before;
pub(crate) use history::{History, Looks};
use reading::{Group, Reading, since};

use super::{Admin, page};
use crate::clock;
use crate::inbox::{Inbox, Unavailable};
use crate::metrics::Metrics;
use crate::metrics::recent::Noted;
use crate::metrics::sums::by;

/// What the gauge of the time to loss says while nothing is at risk: the platform's last try is that far away.
const NO_RISK: u64 = 300;

/// The program of calls that have none.
const NO_NAME: &str = "-";

/// The whole of it.
pub(super) fn status(admin: &Admin) -> Value {
    let (metrics, now) = (&*admin.metrics, clock::now());
    let Status { mut facts, reading, before } = Status::of(admin);
    let accounts = accounts(admin, &reading, &before, &mut facts);
    let programs = programs(&reading, &before, &mut facts);
    let sources = sources(metrics, &reading, &before, &mut facts);
    let receivers = receivers(metrics, &reading, &before, &mut facts);
    let failures: Vec<_> = metrics.recent.list().iter().map(failure).collect();
    let mut shown = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": page::time(clock::wall_millis()),
        "uptime_seconds": admin.history.uptime(now).as_secs(),
        "covers_seconds": before.hour.0.as_secs(),
        "calls": {
            "in_flight": metrics.calls_in_flight.get(),
            "minute": facts.calls,
            "minute_seconds": before.minute.0.as_secs(),
        },
        "memory": {"in_use_bytes": facts.memory.0, "budget_bytes": facts.memory.1},
        "accounts": accounts,
        "programs": programs,
        "inbox": admin.inbox.as_ref().map(|_| json!({
            "ready": facts.inbox.is_none_or(|why| why == Unavailable::Elsewhere),
            "reason": facts.inbox.map(Unavailable::word),
            "bytes": metrics.callbacks.inbox_bytes.get(),
            "max_bytes": metrics.callbacks.inbox_max_bytes.get(),
        })),
        "sources": sources,
        "receivers": receivers,
        "failures": failures,
        "hour": admin.history.plots(),
    });
    for (name, value) in health::judged(&facts) {
        shown[name] = value;
    }
    shown
}

/// What everything else is made of.
struct Status {
    facts: Facts,
    reading: Reading,
    before: Before,
}

impl Status {
    fn of(admin: &Admin) -> Self {
        let metrics = &admin.metrics;
        let number = |gauge: &prometheus::IntGauge| u64::try_from(gauge.get()).unwrap_or(0);
        let facts = Facts {
            inbound: admin.inbound,
            inbox: admin.inbox.as_ref().and_then(|inbox| Inbox::check(inbox).err()),
            memory: (number(&metrics.memory_in_use), number(&metrics.memory_budget)),
            unsettled: number(&metrics.keyed.unknown),
            refused_reload: metrics.config_successful.get() == 0,
            refused_upgrades: metrics.upgrades.with_label_values(&["refused"]).get(),
            quarantined: numbers(by(&metrics.callbacks.quarantined, ["source"])),
            ..Facts::default()
        };
        Self { facts, reading: Reading::of(metrics), before: admin.history.before(clock::now()) }
    }
}

/// Those that are above nothing.
fn numbers(sums: BTreeMap<[String; 1], f64>) -> Vec<(String, u64)> {
    sums.into_iter().filter(|(_, count)| *count > 0.0).map(|([name], count)| (name, count as u64)).collect()
}

fn accounts(admin: &Admin, reading: &Reading, before: &Before, facts: &mut Facts) -> Vec<Value> {
    let limits = &admin.metrics.limits;
    let breakers = by(&limits.breaker, ["account", "state"]);
    let breaker = |account: &str| {
        let states = ["closed", "open", "probing"];
        let is = |state: &&str| breakers.get(&[account.to_owned(), (*state).to_owned()]).is_some_and(|on| *on > 0.0);
        states.into_iter().find(is).unwrap_or("off")
    };
    let (rates, waiting) = (by(&limits.rate, ["account"]), by(&limits.waiting, ["account"]));
    let number = |of: &BTreeMap<[String; 1], f64>, account: &str| of.get(&[account.to_owned()]).copied().unwrap_or(0.0);
    let mut shown = Vec::with_capacity(admin.tokens.len());
    for (name, tokens) in &admin.tokens {
        let held = tokens.held();
        let reason = held.as_ref().err().map(|absent| absent.reason());
        facts.tokenless.extend(reason.map(|reason| (name.clone(), reason)));
        let state = breaker(name);
        match state {
            "open" => facts.open.push(name.clone()),
            "probing" => facts.probing.push(name.clone()),
            _ => {}
        }
        let [ok, of_program, of_platform, limited] = hour(reading, before, Group::Account, name);
        shown.push(json!({
            "name": name,
            "token_seconds_left": held.ok().map(|held| held.life.as_secs()),
            "reason": reason,
            "breaker": state,
            "rate": number(&rates, name),
            "waiting": number(&waiting, name),
            "hour": {"2xx": ok, "4xx": of_program, "5xx": of_platform, "limited": limited},
        }));
    }
    shown
}

fn programs(reading: &Reading, before: &Before, facts: &mut Facts) -> Vec<Value> {
    let mut shown = Vec::new();
    // Calls without a program have a row where there were any.
    let is_shown = |(key, now): &(&(Group, String), &[u64; 4])| {
        key.0 == Group::Program && (key.1 != NO_NAME || now.iter().any(|count| *count > 0))
    };
    for (key, now) in reading.names.iter().filter(is_shown) {
        let minute = since(*now, before.minute.1.get(key));
        facts.calls = std::array::from_fn(|at| facts.calls[at] + minute[at]);
        let [ok, of_program, of_gateway, of_platform] = since(*now, before.hour.1.get(key));
        let minutes = before.minutes(key);
        shown.push(json!({
            "name": key.1,
            "minute": {"ok": minute[0], "failed": minute[1..].iter().sum::<u64>()},
            "hour": {"ok": ok, "program": of_program, "gateway": of_gateway, "platform": of_platform},
            "calls_by_minute": minutes.iter().map(|of| of.iter().sum()).collect::<Vec<u64>>(),
            "failed_by_minute": minutes.iter().map(|of| of[1..].iter().sum()).collect::<Vec<u64>>(),
        }));
    }
    shown
}

fn sources(metrics: &Metrics, reading: &Reading, before: &Before, facts: &mut Facts) -> Vec<Value> {
    let mut shown = Vec::new();
    let mut to_loss = by(&metrics.callbacks.time_to_loss, ["source"]);
    for (_, name) in reading.names.keys().filter(|(group, _)| *group == Group::Source) {
        to_loss.entry([name.clone()]).or_insert(NO_RISK as f64);
    }
    for ([name], seconds) in to_loss {
        let [taken, refused, unopened, lost] = hour(reading, before, Group::Source, &name);
        let seconds = Some(seconds as u64).filter(|seconds| *seconds < NO_RISK);
        facts.losing.extend(seconds.map(|seconds| (name.clone(), seconds)));
        if lost > 0 {
            facts.lost.push((name.clone(), lost));
        }
        shown.push(json!({
            "name": name,
            "seconds_to_loss": seconds,
            "hour": {"taken": taken, "refused": refused, "unopened": unopened, "lost": lost},
        }));
    }
    shown
}

fn receivers(metrics: &Metrics, reading: &Reading, before: &Before, facts: &mut Facts) -> Vec<Value> {
    let callbacks = &metrics.callbacks;
    let standing = by(&callbacks.entries, ["receiver", "state"]);
    let oldest = by(&callbacks.oldest_seconds, ["receiver", "state"]);
    let of_state = |of: &BTreeMap<[String; 2], f64>, name: &str, state: &str| {
        of.get(&[name.to_owned(), state.to_owned()]).map_or(0, |value| *value as u64)
    };
    let mut names: Vec<_> = standing.keys().map(|[receiver, _]| receiver.clone()).collect();
    names.extend(reading.names.keys().filter(|(group, _)| *group == Group::Receiver).map(|(_, name)| name.clone()));
    names.sort();
    names.dedup();
    let mut shown = Vec::with_capacity(names.len());
    for name in names {
        let [delivered, failed, dead_now, _] = hour(reading, before, Group::Receiver, &name);
        let (waiting, dead) = (of_state(&standing, &name, "waiting"), of_state(&standing, &name, "dead"));
        let oldest = if waiting > 0 { of_state(&oldest, &name, "waiting") } else { 0 };
        if dead > 0 {
            facts.dead.push((name.clone(), dead));
        }
        facts.oldest.push((name.clone(), oldest));
        shown.push(json!({
            "name": name,
            "waiting": waiting,
            "oldest_seconds": oldest,
            "dead": dead,
            "hour": {"delivered": delivered, "failed": failed, "dead": dead_now},
        }));
    }
    shown
}

/// What a name counted within the hour.
fn hour(reading: &Reading, before: &Before, group: Group, name: &str) -> [u64; 4] {
    let key = (group, name.to_owned());
    since(reading.names.get(&key).copied().unwrap_or_default(), before.hour.1.get(&key))
}

fn failure(noted: &Noted) -> Value {
    let Noted { half, word, name, operation, fault, status, code, count, first_ms, last_ms } = noted;
    json!({
        "half": half.as_str(),
        "word": word,
        "name": name,
        "operation": operation,
        "fault": fault,
        "status": Some(*status).filter(|status| *status > 0),
        "code": code,
        "count": count,
        "first": page::time(*first_ms),
        "last": page::time(*last_ms),
    })
}
