//! What the log tells of the inbox, and what it does not, because somebody else does.
//! Only what is told in the thread of the test is looked at.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;

/// Takes the lines of one thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

/// A line: its fields, one after the other.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().expect("no panic").push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What is told in this thread meanwhile.
pub(in crate::inbox) fn told<T>(act: impl FnOnce() -> T) -> (T, Vec<String>) {
    let lines = Lines::default();
    let done = tracing::subscriber::with_default(lines.clone(), act);
    let lines = lines.0.lock().expect("no panic").clone();
    (done, lines)
}

#[tokio::test]
async fn what_waits_for_a_receiver_that_is_gone_is_told_in_the_log() {
    let folder = Folder::new("told-unclaimed");
    let inbox = folder.open();
    for (body, receiver) in [("one", "former"), ("two", "former"), ("three", "books")] {
        store(&inbox, NewCallback { receivers: vec![receiver.into()], ..callback(body) }).await;
    }
    drop(inbox);
    let (_inbox, lines) = told(|| folder.open());
    let [line] = &lines[..] else { panic!("one line: {lines:?}") };
    assert!(line.starts_with("WARN") && line.contains("receiver=\"former\" deliveries=2 "), "{line}");
}

#[test]
fn why_the_inbox_is_not_open_is_told_and_an_upgrade_is_no_error() {
    let folder = Folder::new("told-obstacle");
    let first = folder.open();
    let (second, lines) = told(|| folder.open());
    let [line] = &lines[..] else { panic!("one line: {lines:?}") };
    assert!(line.starts_with("ERROR") && line.contains("another gateway uses the inbox"), "{line}");
    drop((first, second));
    let metrics = Arc::new(Metrics::try_new().expect("metrics"));
    let (inbox, lines) = told(|| Inbox::succeed(&folder.rules, &[], metrics));
    assert!(inbox.is_ok() && lines.is_empty(), "{lines:?}");
}
