//! A gateway in which everything happens that a board can show: calls of several programs that go well and do not,
//! callbacks that are taken, repeated, refused and given up, tokens that are refused, limits that are met.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use airudder_gateway::simulator::{Fault, FaultKind, Simulator};

use crate::support::receiver::{Receiver, Reply};
use crate::support::{Client, Gateway, Refusing, Setup, platform};

const PATH: &str = "/callbacks/5be1c04d9a2d7c3560b1f2a4c8e97d05";

/// The pause between two rounds, so that it loads the machine of the test little.
const APART: Duration = Duration::from_millis(100);

/// A gateway and its neighbours.
pub(super) struct Traffic {
    platform: Simulator,
    _receiver: Receiver,
    _down: Refusing,
    pub(super) gateway: Gateway,
    round: AtomicU64,
}

impl Traffic {
    pub(super) fn start() -> Self {
        let (platform, down) = (platform(), Refusing::new());
        let receiver = Receiver::answering(|delivery| match delivery.json()["number"].as_u64() {
            Some(number) if number % 4 == 1 => Reply::Status(410),
            Some(number) if number % 4 == 2 && delivery.attempt() == 1 => Reply::Status(500),
            _ => Reply::Status(200),
        });
        let program = |name: &str, more: &str| {
            format!("[[program]]\nname = \"{name}\"\napi_key = {{ env = \"KEY_{name}\" }}\n{more}\n")
        };
        let more = format!(
            "{}{}[inbound]\nlisten = \"127.0.0.1:0\"\n[inbox]\npath = \"inbox.db\"\nretain = \"3s\"\n\
             [[source]]\nname = \"calls\"\npath = \"{PATH}\"\nquarantine = 3\nreceivers = [\"books\", \"ledger\"]\n\
             [[receiver]]\nname = \"books\"\nurl = \"{}\"\nretry = [\"50ms\"]\n\
             [[receiver]]\nname = \"ledger\"\nurl = \"{}\"\nretry = [\"50ms\"]\n\
             when = {{ pointer = \"/status\", equals = \"finished\" }}\n",
            program("crm", ""),
            program("reports", "limit = { rate = \"1/m\" }"),
            receiver.url(),
            down.url(),
        );
        let env = ["crm", "reports"].map(|name| (format!("KEY_{name}"), format!("key-of-{name}"))).into();
        let account =
            "limit = { rate = \"1000/s\", max_wait = \"10ms\" }\nlogin = { burst = 1000, every = \"1s\" }".into();
        let gateway = Setup { account, more, env, ..Setup::default() }.start(&platform).ready();
        Self { platform, _receiver: receiver, _down: down, gateway, round: AtomicU64::new(0) }
    }

    /// Lets it flow for as long as something is looked at.
    pub(super) fn flows_while(&self, look: impl FnOnce()) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flowing = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let round = self.round.fetch_add(1, Ordering::Relaxed);
                    self.calls(round);
                    self.callbacks(round);
                    std::thread::sleep(APART);
                }
            });
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
            stop.store(true, Ordering::Relaxed);
            flowing.join().expect("traffic flows");
            looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }

    fn calls(&self, round: u64) {
        let mut client = self.gateway.client();
        let mut get = |program: &str, path: &str| {
            client
                .send(format!("GET {path} HTTP/1.1\r\nHost: g\r\nX-Gateway-Key: key-of-{program}\r\n\r\n"))
                .answer()
                .status
        };
        let detail = "/service/cloud/detail?TaskID=1";
        get("crm", "/service/cloud/robot");
        // More than its minute allows.
        get("reports", detail);
        get("reports", detail);
        get("nobody", detail);
        // One after the other: each fault strikes the next call.
        for fault in [Fault::status(500), Fault::code(10_001), FaultKind::OtherKey.into()] {
            self.platform.fault(fault);
            get("crm", detail);
        }
        // Now and then, so that the rate rises in between and can fall again.
        if round.is_multiple_of(20) {
            self.platform.fault(Fault::status(429));
            get("crm", detail);
        }
        self.platform.revoke_tokens();
        get("crm", detail);
        self.platform.fault(Fault::cut());
        client.post_with("/_sim/echo", "X-Gateway-Key: key-of-crm\r\n", "{}");
        self.platform.clear_faults();
        // One key is used twice, and the end of another one stays unknown.
        let mut with_key = |key: String| {
            client.post_with("/_sim/echo", &format!("X-Gateway-Key: key-of-crm\r\nIdempotency-Key: {key}\r\n"), "{}")
        };
        with_key(format!("twice-{}", round / 2));
        if round.is_multiple_of(20) {
            assert_eq!(self.gateway.reload().0, 200);
            self.platform.fault(Fault::cut());
            with_key(format!("unknown-{round}"));
            self.platform.clear_faults();
        }
    }

    fn callbacks(&self, number: u64) {
        let mut client = Client::connect(self.gateway.inbound.expect("it listens for callbacks"));
        let status = if number.is_multiple_of(2) { "finished" } else { "calling" };
        let body = format!(r#"{{"number":{number},"status":"{status}","details":[{{"call_id":"c-{number}"}}]}}"#);
        // The second is a repeat.
        for _ in 0..2 {
            assert_eq!(client.post(PATH, &body).status, 200);
        }
        assert_eq!(client.post_with(PATH, "Is-Encrypted: 1\r\n", "no cipher text").status, 400);
        assert_eq!(client.post("/callbacks/unknown", "{}").status, 404);
    }
}
