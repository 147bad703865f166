//! What a process printed, readable while it runs: both pipes together, line by line, in the order of arrival.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use airudder_gateway::clock;

use super::gateway::PATIENCE;

/// A handle to what was printed.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    /// Pipes that may still bring something.
    open: usize,
}

impl Output {
    /// Reads a pipe to its end, from now on.
    pub(super) fn follow(&self, pipe: impl Read + Send + 'static) {
        let shared = self.clone();
        shared.lock().open += 1;
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                shared.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                shared.0.1.notify_all();
            }
            shared.lock().open -= 1;
            shared.0.1.notify_all();
        });
    }

    /// Everything so far.
    pub(super) fn text(&self) -> String {
        self.lock().lines.join("\n")
    }

    /// Everything, once the process and all its lines have ended.
    pub(super) fn whole(&self) -> String {
        let printed = self.0.1.wait_timeout_while(self.lock(), PATIENCE, |printed| printed.open > 0);
        let (printed, waited) = printed.expect("no panic inside");
        assert!(!waited.timed_out(), "the process does not end");
        printed.lines.join("\n")
    }

    /// Waits for the line that names the addresses, in either format of the log: outbound, admin, and inbound if it listens.
    pub(super) fn listening(&self) -> (SocketAddr, SocketAddr, Option<SocketAddr>) {
        let address = |line: &str, name: &str| {
            let (_, rest) = line.split_once(name)?;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
            rest[..end].parse().ok()
        };
        self.first(|line| {
            let line = line.replace(['"', ','], "").replace('=', ":") + " ";
            line.contains("listening").then_some(())?;
            Some((address(&line, "outbound:")?, address(&line, "admin:")?, address(&line, "inbound:")))
        })
    }

    /// What the lines give so far.
    pub(super) fn all<T>(&self, find: impl Fn(&str) -> Option<T>) -> Vec<T> {
        self.lock().lines.iter().filter_map(|line| find(line)).collect()
    }

    /// What the first line gives that gives something, waiting for it as long as there may be one.
    pub(super) fn first<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        self.after(0, find)
    }

    /// The same after so many lines that give something.
    pub(super) fn after<T>(&self, most: usize, find: impl Fn(&str) -> Option<T>) -> T {
        let mut found_before = 0;
        let (mut seen, end) = (0, clock::now() + PATIENCE);
        let mut printed = self.lock();
        loop {
            for found in printed.lines[seen..].iter().filter_map(|line| find(line)) {
                if found_before == most {
                    return found;
                }
                found_before += 1;
            }
            seen = printed.lines.len();
            let left = end.saturating_duration_since(clock::now());
            if left.is_zero() || printed.open == 0 {
                let all = printed.lines.join("\n");
                drop(printed);
                panic!("no such line in:\n{all}");
            }
            printed = self.0.1.wait_timeout(printed, left).expect("no panic inside").0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.0.lock().expect("no panic inside")
    }
}
