//! The inbox through its own front door: a real folder, a real disk, the real threads.
//! No test waits for time to pass; what is due later is found by its due time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::config::InboxKey;
use crate::inbox::ledger::{Call, Named, PHASES};
use crate::secret::Secret;

mod deliveries;
mod failures;
mod keyed;
mod keys;
mod late;
mod ledger;
mod operating;
mod purging;
pub(super) mod telling;

/// An inbox in a folder of its own, which is removed at the end.
pub(super) struct Folder {
    path: PathBuf,
    pub(super) rules: config::Inbox,
}

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp/inbox").join(unique);
        let rules = config::Inbox {
            path: path.join("inbox.db"),
            retain: Duration::from_secs(14 * 86_400),
            keep_answers: Duration::from_secs(86_400),
            max_bytes: 1 << 30,
            ledger: Duration::from_secs(7 * 24 * 3600),
            ledger_max_bytes: 64 << 20,
            key: InboxKey::File(path.join("inbox.key")),
            old_keys: Vec::new(),
        };
        Self { path, rules }
    }

    fn try_open(&self) -> Result<Inbox, OpenError> {
        let metrics = Arc::new(Metrics::try_new().expect("metrics"));
        Inbox::open(&self.rules, &["books".to_owned(), "crm".to_owned()], metrics)
    }

    fn open(&self) -> Inbox {
        self.try_open().expect("an inbox")
    }

    /// No file holds one of these, first where the log is and then where the database is; the name, which is plain, shows that
    /// looking finds something. Closes the inbox.
    fn assert_none_is_plain(&self, inbox: &Inbox, secrets: &[&str], name: &str) {
        for round in ["in the log", "in the database"] {
            let files = std::fs::read_dir(&self.path).expect("a folder").map(|file| file.expect("a file").path());
            let files: Vec<_> = files.map(|file| std::fs::read(file).expect("bytes")).collect();
            let has = |text: &str| files.iter().any(|file| memchr::memmem::find(file, text.as_bytes()).is_some());
            assert!(has(name), "looking finds nothing {round}");
            for secret in secrets {
                assert!(!has(secret), "{secret} {round}");
            }
            inbox.close();
        }
    }

    fn with_key(mut self, key: &str, old: &[&str]) -> Self {
        self.give_keys(key, old);
        self
    }

    fn give_keys(&mut self, key: &str, old: &[&str]) {
        self.rules.key = InboxKey::Given(Secret::new(key));
        self.rules.old_keys = old.iter().map(|old| Secret::new(*old)).collect();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A callback for `books`.
fn callback(body: &str) -> NewCallback {
    NewCallback {
        source: "calls".into(),
        receivers: vec!["books".into()],
        kind: Kind::Call,
        body: Bytes::copy_from_slice(body.as_bytes()),
        ids: Ids { natural: true, ..Ids::default() },
        received_ms: clock::wall_millis(),
    }
}

async fn store(inbox: &Inbox, callback: NewCallback) -> EntryId {
    match inbox.append(callback).await {
        Ok(Appended::Stored(id)) => id,
        other => panic!("not stored: {other:?}"),
    }
}

/// The bodies that are leased to a receiver now, as text.
async fn bodies(inbox: &Inbox, receiver: &str) -> Vec<String> {
    let leased = inbox.lease(receiver, 100).await.expect("leases");
    leased.iter().map(|leased| String::from_utf8_lossy(&leased.body).into_owned()).collect()
}

/// Appends until it is taken, as the platform would, and returns how often it was refused.
async fn append_until_taken(inbox: &Inbox, body: &str) -> usize {
    let mut refused = 0;
    while inbox.append(callback(body)).await.is_err() {
        refused += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    refused
}

/// A call that ended, to be noted, whose answer named this.
pub(super) fn noted(number: u128, named: &Named) -> Call<'_> {
    Call {
        request: number.to_be_bytes(),
        at_ms: clock::wall_millis(),
        program: "books",
        account: "main",
        operation: "task.create",
        key: None,
        named,
        sent: "yes",
        status: 200,
        outcome: "answered",
        code: Some(200),
        replayed: false,
        phases: [Duration::from_micros(7); PHASES.len()],
        keeping: Duration::from_micros(3),
        took: Duration::from_micros(52),
        parent: None,
    }
}

/// Leases one delivery and settles it.
async fn settle_next(inbox: &Inbox, receiver: &str, settlement: Settlement) -> EntryId {
    let leased = inbox.lease(receiver, 1).await.expect("leases").pop().expect("one is due");
    let id = leased.id;
    inbox.settle(&leased, settlement).await.expect("settled");
    id
}

async fn listed(inbox: &Inbox, filter: Filter) -> Vec<Listed> {
    inbox.list(filter, None, 1000).await.expect("a list")
}
