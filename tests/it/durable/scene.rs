//! A gateway that takes callbacks in a folder that outlives it, a receiver of them, and the question what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airudder_gateway::config::{self, InboxKey};
use airudder_gateway::inbox::{Filter, Inbox};
use airudder_gateway::metrics::Metrics;
use serde_json::Value;

use super::load::PATH;
use crate::support::receiver::{Delivery, Receiver, Reply};
use crate::support::{Client, Folder, Gateway, Refusing, Setup};

/// A folder, how a gateway is started in it, and whoever it delivers to.
pub(super) struct Scene {
    pub(super) folder: Folder,
    setup: Setup,
    receiver: Receiver,
    receiving: Arc<Receiving>,
}

/// What the receiver has taken: for each call the ids of its deliveries.
#[derive(Default)]
struct Receiving {
    open: AtomicBool,
    taken: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Receiving {
    fn answer(&self, delivery: &Delivery) -> Reply {
        if !self.open.load(Ordering::Relaxed) {
            return Reply::Status(503);
        }
        let (call, id) = (call_of(&delivery.json()), delivery.id().to_owned());
        self.taken.lock().expect("no panic inside").entry(call).or_default().insert(id);
        Reply::Status(200)
    }
}

/// The call that a callback of the load is about.
fn call_of(callback: &Value) -> String {
    callback["details"][0]["call_id"].as_str().expect("a callback of the load").to_owned()
}

/// A page of the inbox. Its listener asks for a name that can only mean this machine.
fn look(operator: &mut Client, path: &str) -> Value {
    let answer = operator.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

impl Scene {
    pub(super) fn new() -> Self {
        let (folder, receiving) = (Folder::new(), Arc::<Receiving>::default());
        let answering = receiving.clone();
        let receiver = Receiver::answering(move |delivery| answering.answer(delivery));
        let more = format!(
            "[inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n\
             [[source]]\nname = \"calls\"\npath = \"{PATH}\"\nreceivers = [\"books\"]\n\
             [[receiver]]\nname = \"books\"\nurl = \"{}/\"\nretry = [\"50ms\"]\n\
             [inbox]\npath = \"data/inbox.db\"\n",
            receiver.url()
        );
        let setup = Setup { more, folder: Some(folder.clone()), ..Setup::default() };
        Self { folder, setup, receiver, receiving }
    }

    /// Starts the gateway. It cannot log in anywhere, and takes callbacks all the same. The receiver refuses everything
    /// until it is asked for something.
    pub(super) fn start(&self) -> Gateway {
        self.start_with(Vec::new())
    }

    /// The same with further environment variables.
    pub(super) fn start_with(&self, env: Vec<(String, String)>) -> Gateway {
        self.receiving.open.store(false, Ordering::Relaxed);
        Setup { env, ..self.setup.clone() }.start_at(&Refusing::new().url(), None)
    }

    /// Where the database and its key are.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Asks the gateway for every one of these calls: it is there, once, and whole.
    pub(super) fn ask(&self, gateway: &Gateway, acknowledged: &[String], when: &str) {
        let mut operator = Client::connect(gateway.admin);
        let mut lost = Vec::new();
        for call in acknowledged {
            let found = look(&mut operator, &format!("/inbox?call={call}"));
            let found = found["entries"].as_array().expect("entries");
            match found.as_slice() {
                [] => lost.push(call),
                [one] => {
                    let id = one["id"].as_str().expect("an id");
                    let shown = look(&mut operator, &format!("/inbox/{id}"));
                    assert_eq!(call_of(&shown["callback"]), *call, "{when}: another callback has its place");
                }
                more => panic!("{when}: {call} is stored {} times", more.len()),
            }
        }
        assert!(lost.is_empty(), "{when}: {} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    }

    /// Opens the receiver, and waits until it has every one of these calls, each by one id.
    pub(super) fn receive(&self, acknowledged: &[String], when: &str) {
        self.receiving.open.store(true, Ordering::Relaxed);
        self.receiver.until(|_| {
            let taken = self.receiving.taken.lock().expect("no panic inside");
            acknowledged.iter().all(|call| taken.contains_key(call))
        });
        let taken = self.receiving.taken.lock().expect("no panic inside");
        let twice: Vec<_> = taken.iter().filter(|(_, ids)| ids.len() > 1).collect();
        assert!(twice.is_empty(), "{when}: stored more than once: {twice:?}");
    }

    /// The calls that are kept, read without a gateway, which may refuse to start on what is left of the folder.
    ///
    /// # Errors
    /// The inbox cannot be opened or read.
    pub(super) fn kept(&self) -> Result<BTreeSet<String>, String> {
        let rules = config::Inbox {
            key: InboxKey::File(self.data().join("inbox.db.key")),
            path: self.data().join("inbox.db"),
            retain: Duration::from_secs(14 * 24 * 3600),
            keep_answers: Duration::from_secs(86_400),
            max_bytes: 1 << 30,
            ledger: Duration::from_secs(7 * 24 * 3600),
            ledger_max_bytes: 64 << 20,
            old_keys: Vec::new(),
        };
        let metrics = Arc::new(Metrics::try_new().expect("metrics"));
        let inbox = Inbox::open(&rules, &[], metrics).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let kept = runtime.block_on(calls(&inbox));
        inbox.close();
        kept
    }
}

async fn calls(inbox: &Inbox) -> Result<BTreeSet<String>, String> {
    let (mut kept, mut after) = (BTreeSet::new(), None);
    loop {
        let page = inbox.list(Filter::default(), after, 500).await.map_err(|error| error.word().to_owned())?;
        let Some(last) = page.last() else { return Ok(kept) };
        after = Some(last.id);
        for listed in page {
            let shown = inbox.show(listed.id).await.map_err(|error| error.word().to_owned())?;
            let body = shown.and_then(|shown| shown.body).ok_or("an entry has no body")?;
            kept.insert(call_of(&serde_json::from_slice(&body).map_err(|error| error.to_string())?));
        }
    }
}
