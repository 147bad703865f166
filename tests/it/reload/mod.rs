//! Another configuration while the gateway runs: what takes effect, what survives, what is refused.

mod callbacks;
mod calls;
mod load;
mod refusals;
mod residue;

use airudder_gateway::simulator::Simulator;

use crate::support::{Answer, Client, Gateway, Setup};

const DETAIL: &str = "/service/cloud/detail?TaskID=1";

/// What signs gateway tokens here.
const TOKEN_KEY: &str = "a key that signs gateway tokens in these tests";

/// Values that configurations here may refer to: an environment does not change while a process runs.
fn env() -> Vec<(String, String)> {
    [
        ("TOKEN_KEY", TOKEN_KEY),
        ("KEY_A", "key-a"),
        ("KEY_B", "key-b"),
        ("KEY_C", "key-c"),
        ("OTHER_KEY", "other-app-key"),
        ("OTHER_SECRET", "other-app-secret"),
        ("OTHER_AES", "another-aes-key!"),
        ("ADMIN", "the token of an operator"),
        ("SHORT", "short"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The simplest configuration, with further sections.
fn setup(more: &str) -> Setup {
    Setup {
        outbound: "threads = 2\ntoken_key = { env = \"TOKEN_KEY\" }".into(),
        more: more.into(),
        env: env(),
        ..Setup::default()
    }
}

/// A program that shows a key, with further lines.
fn program(name: &str, key: &str, more: &str) -> String {
    format!("[[program]]\nname = \"{name}\"\napi_key = {{ env = \"{key}\" }}\n{more}\n")
}

fn call(client: &mut Client, headers: &str) -> Answer {
    client.send(format!("GET {DETAIL} HTTP/1.1\r\nHost: g\r\n{headers}\r\n"));
    client.answer()
}

/// A gateway with this configuration in front of a platform, holding its token.
fn start(setup: &Setup, platform: &Simulator) -> Gateway {
    setup.start(platform).ready()
}

/// How many reloads ended so.
fn reloads(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!("config_reload_total{{outcome=\"{outcome}\"}}"))
}
