//! Deliveries: what the platform calls back arrives at the receivers, at least once, whatever they answer meanwhile.

mod answers;
mod circle;
mod conservation;
mod drain;
mod independence;
mod order;
mod settling;
mod tls;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use airudder_gateway::config::{Inbox as Rules, InboxKey, Scheme};
use airudder_gateway::envelope::Cipher;
use airudder_gateway::inbox::Inbox;
use airudder_gateway::metrics::Metrics;
use airudder_gateway::secret::Secret;

use crate::support::gateway::KEY;
use crate::support::receiver::Delivery;
use crate::support::{Client, Folder, Gateway, Setup};

/// The path of the source in these stories.
const PATH: &str = "/callbacks/9f2c6e1ab04d4c7dbd0a31f7/calls";

/// A receiver in the configuration.
struct To<'a> {
    name: &'a str,
    url: String,
    /// Further lines of its section.
    more: &'a str,
}

/// The only receiver, named `books`.
fn books(url: String, more: &str) -> [To<'_>; 1] {
    [To { name: "books", url, more }]
}

/// A gateway with one source whose callbacks go to these receivers. Retries come soon unless a receiver's lines say
/// otherwise.
fn setup(receivers: &[To<'_>]) -> Setup {
    let names: Vec<_> = receivers.iter().map(|to| format!("\"{}\"", to.name)).collect();
    let mut more = format!(
        "[inbound]\nlisten = \"127.0.0.1:0\"\n[inbox]\npath = \"inbox.db\"\n\
         [[source]]\nname = \"calls\"\npath = \"{PATH}\"\nreceivers = [{}]\n",
        names.join(", ")
    );
    for To { name, url, more: lines } in receivers {
        let retry = if lines.contains("retry") { "" } else { "retry = [\"50ms\"]\n" };
        more += &format!("[[receiver]]\nname = \"{name}\"\nurl = \"{url}/hooks?of=calls\"\n{retry}{lines}\n");
    }
    Setup { more, ..Setup::default() }
}

/// A callback about one call.
fn call(id: &str) -> String {
    numbered(id, 0)
}

/// One of several callbacks about one call.
fn numbered(id: &str, number: usize) -> String {
    format!(
        r#"{{"task_id":"task","status":"finished","number":{number},"details":[{{"callee":"+6281200000001","result":"finished","call_id":"{id}"}}]}}"#
    )
}

/// The platform's side.
struct Platform(Client);

impl Platform {
    fn of(gateway: &Gateway) -> Self {
        Self(Client::connect(gateway.inbound.expect("it listens for callbacks")))
    }

    /// Posts a callback as it is, which has to be acknowledged.
    fn call_back(&mut self, body: &str) -> &mut Self {
        let answer = self.0.post(PATH, body);
        assert_eq!(answer.status, 200, "{body}: {}", String::from_utf8_lossy(&answer.body));
        self
    }

    /// The same, sealed.
    fn call_back_sealed(&mut self, body: &str) -> &mut Self {
        let sealed = Cipher::try_new(&Scheme::EcbZero, &Secret::new(KEY)).expect("a key").seal(body.as_bytes());
        let headers = format!("Is-Encrypted: 1\r\nSigned: {}\r\n", sealed.signed.as_str());
        let answer = self.0.post_with(PATH, &headers, &sealed.text);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        self
    }
}

/// The call id of a delivery.
fn call_of(delivery: &Delivery) -> String {
    delivery.json()["details"][0]["call_id"].as_str().expect("a call id").to_owned()
}

/// Attempts of one receiver with this outcome.
fn attempts(gateway: &Gateway, receiver: &str, outcome: &str) -> u64 {
    gateway.metric(&format!("delivery_attempts_total{{outcome=\"{outcome}\",receiver=\"{receiver}\"}}")) as u64
}

/// Dead letters of one receiver for this reason.
fn dead(gateway: &Gateway, receiver: &str, reason: &str) -> u64 {
    gateway.metric(&format!("dead_letters_total{{reason=\"{reason}\",receiver=\"{receiver}\"}}")) as u64
}

/// Does something with the inbox of a gateway that has ended.
fn with_inbox<T>(folder: &Folder, act: impl AsyncFnOnce(&Inbox) -> T) -> T {
    let rules = Rules {
        path: folder.path().join("inbox.db"),
        retain: Duration::from_secs(14 * 86_400),
        keep_answers: Duration::from_secs(86_400),
        max_bytes: 10 << 30,
        ledger: Duration::from_secs(7 * 24 * 3600),
        ledger_max_bytes: 64 << 20,
        key: InboxKey::File(folder.path().join("inbox.db.key")),
        old_keys: Vec::new(),
    };
    let metrics = Arc::new(Metrics::try_new().expect("metrics"));
    let inbox = Inbox::open(&rules, &["books".to_owned(), "ledger".to_owned()], metrics).expect("it opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = runtime.block_on(act(&inbox));
    inbox.close();
    done
}
