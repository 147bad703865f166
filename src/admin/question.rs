//! What an operator asks about the inbox: the words of a query or of a JSON object, as a filter.
//!
//! A filter may hold the id of a call, so no refusal shows a value, only names and what they may be.

use std::borrow::Cow;

use serde_json::Value;

use super::page::{Page, Request};
use crate::clock;
use crate::config::parse_duration;
use crate::inbox::{EntryId, Filter, Kind, Pace, State};

/// Most entries one request lists, redrives or purges: each is answered soon, and none holds up a delivery.
const MOST: usize = 1000;

/// Entries of a list, unless it is asked for more.
const USUAL: usize = 100;

/// Redriven deliveries of a receiver a second, unless another pace is asked for: what an ordinary program takes beside its
/// other work. The inbox spreads at most a thousand.
const USUAL_PACE: u32 = 100;

/// The words that narrow a question.
const FILTERS: [&str; 9] = ["source", "receiver", "call", "task", "kind", "state", "id", "since", "until"];

/// A question, understood.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) filter: Filter,
    /// What the filter names, in the order asked: names of words, which are known ones, and never their values.
    pub(super) filters: Vec<&'static str>,
    /// Everything is meant, in so many words.
    pub(super) all: bool,
    /// Entries after this one.
    pub(super) after: Option<EntryId>,
    /// Most entries of this answer.
    pub(super) most: usize,
    pub(super) dry_run: bool,
    pub(super) pace: Pace,
}

impl Question {
    /// From a query, and a body where there is one. `step`: how many entries are meant without a limit.
    pub(super) fn read(request: &Request) -> Result<Self, Page> {
        let usual = if request.body.is_empty() && request.method != http::Method::POST { USUAL } else { MOST };
        Self::of(words(request)?, usual, clock::wall_millis()).map_err(|why| Page::message(400, &why))
    }

    fn of(words: Vec<(String, String)>, usual: usize, now_ms: u64) -> Result<Self, String> {
        let mut question = Self {
            filter: Filter::default(),
            filters: Vec::new(),
            all: false,
            after: None,
            most: usual,
            dry_run: false,
            pace: Pace { per_second: USUAL_PACE },
        };
        let mut seen = Vec::new();
        for (name, value) in words {
            if seen.contains(&name) {
                return Err(format!("{name} is written twice; write it once."));
            }
            question.add(&name, &value, now_ms)?;
            seen.push(name);
        }
        Ok(question)
    }

    fn add(&mut self, name: &str, value: &str, now_ms: u64) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("{name} has no value; write one, or leave it out."));
        }
        let filter = &mut self.filter;
        let of_filter = match name {
            "source" => replace(&mut filter.source, value.to_owned()),
            "receiver" => replace(&mut filter.receiver, value.to_owned()),
            "call" => replace(&mut filter.call, value.to_owned()),
            "task" => replace(&mut filter.task, value.to_owned()),
            "kind" => {
                let known = Kind::ALL.map(Kind::as_str).join(", ");
                replace(&mut filter.kind, Kind::find(value).ok_or(format!("kind is one of {known}."))?)
            }
            "state" => {
                let known = State::ALL.map(State::as_str).join(", ");
                replace(&mut filter.state, State::find(value).ok_or(format!("state is one of {known}."))?)
            }
            "id" => replace(&mut filter.id, entry(name, value)?),
            "since" => replace(&mut filter.since_ms, time(name, value, now_ms)?),
            "until" => replace(&mut filter.until_ms, time(name, value, now_ms)?),
            _ => false,
        };
        self.filters.extend(FILTERS.iter().find(|filter| of_filter && **filter == name));
        let flag = |value: &str| match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("{name} is true or false.")),
        };
        match name {
            _ if of_filter => {}
            "after" => self.after = Some(entry(name, value)?),
            "limit" => self.most = number(name, value, MOST)?,
            "per_second" => {
                let per_second = number(name, value, 1000)?;
                self.pace = Pace { per_second: u32::try_from(per_second).unwrap_or(USUAL_PACE) };
            }
            "dry_run" => self.dry_run = flag(value)?,
            "all" => self.all = flag(value)?,
            _ => {
                return Err(
                    "There is an unknown word in this question; known are source, receiver, kind, state, call, \
                            task, id, since, until, after, limit, per_second, dry_run, all."
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}

/// Sets a part of a filter.
fn replace<T>(part: &mut Option<T>, value: T) -> bool {
    *part = Some(value);
    true
}

fn entry(name: &str, value: &str) -> Result<EntryId, String> {
    value.parse().map_err(|error| format!("{name} is {error}."))
}

pub(super) fn number(name: &str, value: &str, most: usize) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{name} is a number from 1 to {most}."))
}

/// A time, or how long ago.
pub(super) fn time(name: &str, value: &str, now_ms: u64) -> Result<u64, String> {
    let ago = || {
        let ago = u64::try_from(parse_duration(value).ok()?.as_millis()).ok()?;
        Some(now_ms.saturating_sub(ago))
    };
    clock::parse_rfc3339(value).or_else(ago).ok_or_else(|| {
        format!("{name} is a time, such as 2026-06-10 or 2026-06-10T02:06:20Z, or how long ago, such as 2h or 3d.")
    })
}

/// The words of the query, and those of the body: a JSON object of texts, numbers, true and false.
pub(super) fn words(request: &Request) -> Result<Vec<(String, String)>, Page> {
    let mut words = Vec::new();
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        words.push((name.into_owned(), value.into_owned()));
    }
    if request.body.is_empty() {
        return Ok(words);
    }
    let refused = || Page::message(400, "The body has to be a JSON object of texts, numbers, true and false.");
    let Ok(Value::Object(object)) = serde_json::from_slice(&request.body) else { return Err(refused()) };
    for (name, value) in object {
        let value: Cow<'_, str> = match &value {
            Value::String(text) => text.into(),
            Value::Number(number) => number.to_string().into(),
            Value::Bool(flag) => flag.to_string().into(),
            // As if it were not there: what a program writes that has nothing to say.
            Value::Null => continue,
            _ => return Err(refused()),
        };
        words.push((name, value.into_owned()));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_781_057_180_123;

    fn read(query: &str) -> Result<Question, String> {
        let words = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Question::of(words, USUAL, NOW)
    }

    #[test]
    fn words_become_a_filter() {
        let question = read(
            "source=calls&receiver=books&kind=predict.task&state=dead&call=a%2Bb&task=%E5%88%98&id=cb_000003000000004d\
             &since=2026-06-10&until=2h&after=cb_0000030000000001&limit=7&per_second=3&dry_run=true&all=1",
        )
        .map_err(|why| panic!("{why}"))
        .expect("a question");
        let Filter { source, receiver, kind, state, call, task, id, since_ms, until_ms } = question.filter;
        assert_eq!((source.as_deref(), receiver.as_deref()), (Some("calls"), Some("books")));
        assert_eq!((kind, state), (Some(Kind::PredictTask), Some(State::Dead)));
        assert_eq!((call.as_deref(), task.as_deref()), (Some("a+b"), Some("刘")));
        assert_eq!(id.expect("an id").to_string(), "cb_000003000000004d");
        assert_eq!((since_ms, until_ms), (Some(1_781_049_600_000), Some(NOW - 7_200_000)));
        assert_eq!(question.after.expect("an id").to_string(), "cb_0000030000000001");
        assert_eq!((question.most, question.pace.per_second), (7, 3));
        assert!(!question.filters.is_empty() && question.dry_run && question.all);
        let nothing = read("").map_err(|why| panic!("{why}")).expect("a question");
        assert_eq!((nothing.most, nothing.pace.per_second), (USUAL, USUAL_PACE));
        assert!(nothing.filters.is_empty() && !nothing.dry_run && !nothing.all);
        for narrow in ["limit=3", "after=cb_0000030000000001", "dry_run=1", "all=true", "per_second=1"] {
            let question = read(narrow).map_err(|why| panic!("{why}")).expect("a question");
            assert!(question.filters.is_empty(), "{narrow}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said_without_showing_it() {
        for query in [
            "kind=canary",
            "state=canary",
            "id=canary",
            "after=canary",
            "since=canary",
            "until=canary",
            "limit=0",
            "limit=1001",
            "per_second=canary",
            "dry_run=canary",
            "all=canary",
            "call=",
            "canary=1",
            "limit=1&limit=1",
        ] {
            let why = read(query).map(|_| ()).expect_err(query);
            assert!(why.ends_with('.') && !why.contains("canary"), "{query}: {why}");
        }
    }
}
