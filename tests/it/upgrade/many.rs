//! Many connections that nobody uses at the moment: each of them goes on in the process that takes over.
//!
//! `IDLE_CONNECTIONS=10000` makes it more; they are files of this process, too.

use airudder_gateway::clock;

use super::{DETAIL, start};
use crate::hostile::crowd::affordable_with;
use crate::support::platform;

/// How many connections; others by the variable, for a machine with files.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn wanted() -> usize {
    std::env::var("IDLE_CONNECTIONS").map_or(1000, |count| count.parse().expect("a number"))
}

#[test]
fn every_one_of_a_thousand_idle_connections_is_answered_on_after_an_upgrade() {
    let count = affordable_with(wanted(), 1);
    let platform = platform();
    let lines = format!("keepalive_timeout = \"1h\"\nheader_timeout = \"1h\"\nmax_connections = {}", count + 100);
    let mut gateway = start(&lines, &platform);
    let mut clients: Vec<_> = (0..count).map(|_| gateway.client()).collect();
    // Every other one is known already; the rest have said nothing yet.
    clients.iter_mut().step_by(2).for_each(|client| assert_eq!(client.get(DETAIL).status, 200));
    let begun = clock::now();
    gateway.upgrade();
    let took = begun.elapsed();
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.printed());
    let went_over = gateway.log_line(|line| line["message"] == "stopped: the next process is the gateway");
    for (number, client) in clients.iter_mut().enumerate() {
        // On this connection and no other: a client here never connects anew.
        assert_eq!(client.get(DETAIL).status, 200, "{number} of {count}");
    }
    println!("{count} idle connections went over in {:.2} s", took.as_secs_f64());
    assert!(went_over["connections"].as_u64().is_some_and(|went| went >= count as u64), "{went_over}");
    assert_eq!(platform.logins(), 1);
}
