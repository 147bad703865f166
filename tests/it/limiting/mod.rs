//! Limits through the front door: who is served, who waits, who is told at once, and what the platform sees of it.

mod fairness;
mod fields;
mod leaving;
mod platform;
mod waiting;

use airudder_gateway::simulator::{Keep, Options, Simulator};

use crate::support::{Answer, Client, Gateway, Setup, platform_with};

const DETAIL: &str = "/service/cloud/detail?TaskID=1";

/// A gateway whose account has these limits, holding a token, and its platform.
fn limited(limit: &str) -> (Simulator, Gateway) {
    limited_with(limit, "")
}

/// The same with further sections.
fn limited_with(limit: &str, more: &str) -> (Simulator, Gateway) {
    let platform = platform_with(Options { keep: Keep::Everything, keep_requests: 100_000, ..Options::default() });
    let account = format!("limit = {{ {limit} }}");
    let gateway = Setup { account, more: more.into(), env: keys(), ..Setup::default() }.start(&platform).ready();
    (platform, gateway)
}

/// Three programs with these limits; program `a` shows the key `key-a`.
fn programs(limits: [&str; 3]) -> String {
    let program = |(name, limit): (&str, &str)| {
        format!(
            "[[program]]\nname = \"{name}\"\napi_key = {{ env = \"KEY_{}\" }}\nlimit = {{ {limit} }}\n",
            name.to_uppercase()
        )
    };
    ["a", "b", "c"].into_iter().zip(limits).map(program).collect()
}

fn keys() -> Vec<(String, String)> {
    ["A", "B", "C"].map(|name| (format!("KEY_{name}"), format!("key-{}", name.to_lowercase()))).into()
}

/// A call with further header lines.
fn send(client: &mut Client, headers: &str) {
    client.send(format!("GET {DETAIL} HTTP/1.1\r\nHost: g\r\n{headers}\r\n"));
}

fn call(client: &mut Client, headers: &str) -> Answer {
    send(client, headers);
    client.answer()
}

/// What `Retry-After` says, in seconds.
fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").expect("a time").parse().expect("whole seconds")
}
