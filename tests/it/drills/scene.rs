//! What the drills share: a gateway between the simulated platform and a receiver, and the moments at which it is scraped.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use airudder_gateway::simulator::Simulator;

use super::timeline::{Scrape, Timeline};
use crate::support::receiver::Receiver;
use crate::support::tools::of_project;
use crate::support::{Answer, Client, Folder, Gateway, Setup, platform};

/// Where callbacks go.
pub(super) const PATH: &str = "/callbacks/1d7a52c04b8f4e6fa9c3e8b0d2f41a67";

/// A call that changes nothing, and one that may.
const DETAIL: &str = "/service/cloud/detail?TaskID=1";
pub(super) const ECHO: &str = "/_sim/echo";

/// While files of these names are in the folder of a scene, its disk is slow, or nearly full.
pub(super) const SLOW: &str = "slow";
pub(super) const SMALL: &str = "small";

/// `tests/disk/shim.c`, built once for each run of the tests. Every scene has it, so that the real disk, which may be busy or nearly
/// full, takes no part.
fn shim() -> String {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&built);
        let status = cc.arg(of_project("tests/disk/shim.c")).arg("-ldl").status();
        assert!(status.expect("cc is there: Rust links with it").success(), "the shim does not build");
        built
    });
    built.display().to_string()
}

/// The alert that is drilled.
pub(super) struct Drill(&'static str);

impl Drill {
    pub(super) fn of(alert: &'static str) -> Self {
        Self(alert)
    }

    /// `trouble` gets the gateway into it, and `relief` out of it. The trouble lasts so many minutes.
    pub(super) fn run(
        self,
        minutes: usize,
        mut scene: Scene,
        trouble: impl FnOnce(&mut Scene),
        relief: impl FnOnce(&mut Scene),
    ) {
        let before = Scrape::of(&scene.gateway);
        trouble(&mut scene);
        let during = scene.scrape();
        relief(&mut scene);
        let after = scene.scrape();
        Timeline { before, during, after, minutes }.check(self.0);
    }
}

/// A gateway and its neighbours.
pub(super) struct Scene {
    pub(super) platform: Simulator,
    pub(super) receiver: Receiver,
    pub(super) gateway: Gateway,
    pub(super) folder: Folder,
    setup: Setup,
    /// Whether it is there to be scraped.
    pub(super) runs: bool,
}

impl Scene {
    /// As it comes.
    pub(super) fn new() -> Self {
        Self::with("", "")
    }

    /// With lines of the account and of `[inbound]`.
    pub(super) fn with(account: &str, inbound: &str) -> Self {
        Self::within(Folder::new(), account, inbound)
    }

    /// The same in a folder that has something already.
    pub(super) fn within(folder: Folder, account: &str, inbound: &str) -> Self {
        let (platform, receiver) = (platform(), Receiver::new());
        let more = format!(
            "[inbound]\nlisten = \"127.0.0.1:0\"\n{inbound}\n[inbox]\npath = \"inbox.db\"\n\
             [[source]]\nname = \"calls\"\npath = \"{PATH}\"\nreceivers = [\"books\"]\n\
             [[receiver]]\nname = \"books\"\nurl = \"{}/hooks\"\nretry = [\"50ms\"]\n",
            receiver.url()
        );
        let file = |name: &str| folder.path().join(name).display().to_string();
        let env = [("LD_PRELOAD", shim()), ("DISK_SLOW", file(SLOW)), ("DISK_SMALL", file(SMALL))];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into();
        let setup = Setup { account: account.into(), more, env, folder: Some(folder.clone()), ..Setup::default() };
        let gateway = setup.start(&platform).ready();
        // The writer has looked once: what it shows is there.
        gateway.until(|gateway| gateway.metric("inbox_bytes") > 0.0);
        Self { platform, receiver, gateway, folder, setup, runs: true }
    }

    /// Starts it anew in its folder.
    pub(super) fn restart(&mut self) {
        self.gateway = self.setup.start(&self.platform).ready();
        self.gateway.until(|gateway| gateway.metric("inbox_bytes") > 0.0);
        self.runs = true;
    }

    fn scrape(&self) -> Scrape {
        if self.runs { Scrape::of(&self.gateway) } else { Scrape::failed() }
    }

    /// Makes this many calls, whatever comes of them, and waits until they are counted.
    pub(super) fn call(&self, count: usize) -> Vec<Answer> {
        let mut client = self.gateway.client();
        let answers: Vec<_> = (0..count).map(|_| client.get(DETAIL)).collect();
        answers.iter().for_each(|answer| drop(self.gateway.line_of(answer)));
        answers
    }

    /// A call that may have an effect.
    pub(super) fn act(&self) -> Answer {
        let answer = self.gateway.client().post(ECHO, "{}");
        self.gateway.line_of(&answer);
        answer
    }

    /// A connection of the platform.
    pub(super) fn calling_back(&self) -> Client {
        Client::connect(self.gateway.inbound.expect("it listens for callbacks"))
    }

    /// The platform calls back about this call; whether it was acknowledged.
    pub(super) fn call_back(&self, call: &str) -> bool {
        let body = format!(r#"{{"task_id":"task","status":"finished","details":[{{"call_id":"{call}"}}]}}"#);
        self.calling_back().post(PATH, &body).status == 200
    }
}
