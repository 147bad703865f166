//! Single values within their bounds: names, durations, counts, sizes, addresses; and lists whose names must differ.
//!
//! Each takes what is written and the default, and refuses with a sentence that names the bound. None of
//! them knows another value of the file.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Threads;
use super::error::{Fault, either, quote};
use super::table::{Given, Section};
use super::units::{written_duration, written_size};

/// The name of a section: 1 to 64 letters, digits, `_`, `.` and `-`, because it becomes a metric's label.
pub(super) fn name<S: Section>(section: &Given<S>, given: Option<&Given<String>>) -> Result<String, Fault> {
    let Some(given) = given else {
        return Err(Fault::at(section.at, format!("this {} has no name; add name = \"…\"", S::TITLE)));
    };
    let name = &given.value;
    if name == "-" {
        return Err(given.fault("\"-\" stands for none in the log and in metrics; write another name"));
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(known) {
        Ok(name.clone())
    } else {
        Err(given.fault(format!("{} must have 1 to 64 of A to Z, a to z, 0 to 9, _ . -", quote(name))))
    }
}

/// A duration for which zero makes no sense.
pub(super) fn positive(given: Option<&Given<Duration>>, default: Duration) -> Result<Duration, Fault> {
    match given {
        None => Ok(default),
        Some(given) if given.value.is_zero() => {
            Err(given.fault(format!("is zero; write a longer time, such as \"{}\"", written_duration(default))))
        }
        Some(given) => Ok(given.value),
    }
}

/// A number within its bounds.
pub(super) fn count(given: Option<&Given<u64>>, bounds: RangeInclusive<usize>, default: usize) -> Result<usize, Fault> {
    let Some(given) = given else { return Ok(default) };
    match usize::try_from(given.value) {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => {
            Err(given.fault(format!("is {}; write a number from {} to {}", given.value, bounds.start(), bounds.end())))
        }
    }
}

/// Worker threads; where nothing is given, one for each core.
pub(super) fn threads(given: Option<&Given<u64>>) -> Result<Threads, Fault> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    count(given, 1..=1024, cores).map(if given.is_some() { Threads::Given } else { Threads::Cores })
}

/// A size within its bounds, in bytes.
pub(super) fn size(
    given: Option<&Given<usize>>,
    bounds: RangeInclusive<usize>,
    default: usize,
) -> Result<usize, Fault> {
    let Some(given) = given else { return Ok(default) };
    if bounds.contains(&given.value) {
        return Ok(given.value);
    }
    let (which, bound) = if given.value < *bounds.start() { ("least", bounds.start()) } else { ("most", bounds.end()) };
    Err(given.fault(format!("is {}; the {which} is {}", written_size(given.value), written_size(*bound))))
}

/// An IP address with a port.
pub(super) fn listen(given: Option<&Given<String>>, default: SocketAddr) -> Result<SocketAddr, Fault> {
    let Some(given) = given else { return Ok(default) };
    given.value.parse().map_err(|_| {
        given
            .fault(format!("{} is not an IP address with a port; write one such as \"{default}\"", quote(&given.value)))
    })
}

/// An exact path. The refusal is the rest of a sentence and does not show it, because a source's path is a secret.
pub(super) fn path(given: &Given<String>) -> Result<String, &'static str> {
    let path = &given.value;
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic());
    if path.starts_with('/') && visible && !path.contains(['?', '#']) {
        Ok(path.clone())
    } else {
        Err("must begin with / and have no query, no # and no spaces")
    }
}

/// One of the names that were configured before.
pub(super) fn named<'a>(
    given: &Given<String>,
    owner: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize, Fault> {
    names.clone().position(|name| name == given.value).ok_or_else(|| {
        let names: Vec<_> = names.map(quote).collect();
        let do_what = if names.is_empty() { "add it".to_owned() } else { format!("write {}", either(&names)) };
        given.fault(format!("{} of {owner} is not configured; {do_what}", quote(&given.value)))
    })
}

/// The index of the first item that was there before.
pub(super) fn repeated<T: Hash + Eq>(items: impl IntoIterator<Item = T>) -> Option<usize> {
    let mut seen = HashSet::new();
    items.into_iter().position(|item| !seen.insert(item))
}

/// Checks section after section.
pub(super) fn each<S, T>(
    sections: &[Given<S>],
    check: impl FnMut(&Given<S>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    sections.iter().map(check).collect()
}

/// Refuses the second section of one name.
pub(super) fn unique<S, T>(
    what: &str,
    sections: &[Given<S>],
    checked: &[T],
    name: impl Fn(&T) -> &str,
) -> Result<(), Fault> {
    match repeated(checked.iter().map(&name)) {
        Some(second) => Err(Fault::at(
            sections[second].at,
            format!("two {what} \"{}\"; give each its own name", name(&checked[second])),
        )),
        None => Ok(()),
    }
}
