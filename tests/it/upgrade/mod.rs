//! SIGUSR2: the binary that lies in the place of the running one takes over, and nobody who calls notices.

mod connections;
mod ends;
mod load;
mod many;
mod refusals;
mod stops;
mod systemd;
mod tls;
mod told;

use std::sync::{Arc, Mutex, mpsc};

use airudder_gateway::simulator::Simulator;

use crate::support::{Folder, Gateway, Setup, scripted};

const DETAIL: &str = "/service/cloud/detail?TaskID=1";

/// The path of the source.
pub(crate) const PATH: &str = "/callbacks/9f2c6e1ab04d4c7dbd0a31f7/calls";

/// A gateway with everything: calls, keys, callbacks, and a receiver at this address.
pub(crate) fn setup(receiver: &str) -> Setup {
    let more = format!(
        "[inbound]\nlisten = \"127.0.0.1:0\"\n[inbox]\npath = \"inbox.db\"\n\
         [[source]]\nname = \"calls\"\npath = \"{PATH}\"\nreceivers = [\"books\"]\n\
         [[receiver]]\nname = \"books\"\nurl = \"{receiver}/hooks\"\nretry = [\"50ms\"]\n"
    );
    Setup { more, folder: Some(Folder::new()), ..Setup::default() }
}

/// A gateway for calls only.
fn start(outbound: &str, platform: &Simulator) -> Gateway {
    Setup { outbound: format!("threads = 2\n{outbound}"), folder: Some(Folder::new()), ..Setup::default() }
        .start(platform)
        .ready()
}

/// A platform on which calls of one path wait until they are told to go on.
fn waiting() -> (String, mpsc::Sender<()>) {
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let url = scripted(move |request, line| {
        if request.contains("slow") {
            // Nobody who lets it go on: it ends with the test.
            let _ = waits.lock().expect("no panic inside").recv();
        }
        line.say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"code\":200}");
    });
    (url, go)
}

/// How many upgrades ended so, as the serving process counts.
fn upgrades(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!("upgrades_total{{outcome=\"{outcome}\"}}"))
}

/// A callback about one call.
pub(crate) fn callback(id: &str) -> String {
    format!(
        r#"{{"task_id":"task","status":"finished","details":[{{"callee":"+6281200000001","result":"finished","call_id":"{id}"}}]}}"#
    )
}
