//! The inbox cannot be opened when the gateway starts: calls go out all the same, nothing is acknowledged, and once it can be
//! opened it is, without a restart.

use std::collections::BTreeSet;
use std::path::PathBuf;

use airudder_gateway::simulator::Simulator;

use super::setting::{Setting, assert_acknowledged, call_back, platform};
use crate::support::gateway::Folder;
use crate::support::mounted::Mounted;
use crate::support::receiver::{Delivery, Receiver};
use crate::support::{Answer, Client, Gateway, Refusing, Setup, platform as outside};

/// A folder that outlives each gateway, and the platform.
struct Scene {
    folder: Folder,
    simulated: Simulator,
}

impl Scene {
    fn new() -> Self {
        Self { folder: Folder::new(), simulated: outside() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn database(&self) -> PathBuf {
        self.data().join("inbox.db")
    }

    /// A gateway that delivers to `url`.
    fn start(&self, url: &str) -> Gateway {
        self.setup("books", url).start(&self.simulated).ready()
    }

    /// One whose only receiver has this name.
    fn setup(&self, receiver: &str, url: &str) -> Setup {
        let more = format!("[[receiver]]\nname = \"{receiver}\"\nurl = \"{url}\"\nretry = [\"50ms\"]\n");
        let setting = Setting { source: format!("receivers = [\"{receiver}\"]"), more, ..Setting::default() };
        Setup { folder: Some(self.folder.clone()), ..setting.setup() }
    }

    /// A former life of the inbox, in which this was stored and nobody took it.
    fn leave(&self, body: &str) {
        let mut gateway = self.start(&Refusing::new().url());
        assert_acknowledged(&call_back(&mut platform(&gateway), &plain(body)));
        gateway.terminate();
        assert!(gateway.wait().success(), "{}", gateway.printed());
    }
}

fn plain(body: &str) -> (String, Vec<u8>) {
    (String::new(), body.as_bytes().to_vec())
}

fn body_of(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.body).into_owned()
}

/// What operators are shown of the inbox.
fn entries(gateway: &Gateway) -> Answer {
    Client::connect(gateway.admin).send("GET /inbox HTTP/1.1\r\nHost: localhost\r\n\r\n").answer()
}

/// Callbacks are refused, calls are not, and operators are told why.
fn assert_only_calls(gateway: &Gateway, reason: &str, says: &str) {
    let answer = call_back(&mut platform(gateway), &plain("{\"call_id\":\"early\"}"));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert_eq!(gateway.client().get("/service/cloud/robot").status, 200);
    assert_eq!(gateway.admin_page("/readyz").0, 200);
    let (status, page) = gateway.admin_page("/readyz/inbound");
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    assert_eq!((status, &page["ready"], &page["reason"]), (503, &false.into(), &reason.into()), "{page}");
    let message = page["message"].as_str().expect("a sentence");
    assert!(message.contains(says), "{message}");
    assert_eq!(gateway.metric("inbox_up"), 0.0);
    let page = entries(gateway);
    assert!(page.status == 503 && page.json()["reason"] == reason, "{page:?}");
    gateway.log_line(|line| line["message"] == message && line["level"] == "ERROR");
}

/// Callbacks are taken now, and the receiver gets these, and nothing twice.
fn assert_whole(gateway: &Gateway, receiver: &Receiver, told: &str, expected: &[&str]) {
    gateway.until(|gateway| {
        let answer = call_back(&mut platform(gateway), &plain("{\"call_id\":\"late\"}"));
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        answer.status == 200
    });
    assert_eq!((gateway.metric("inbox_up"), gateway.admin_page("/readyz/inbound").0), (1.0, 200));
    let expected: BTreeSet<_> = expected.iter().copied().chain(["{\"call_id\":\"late\"}"]).map(str::to_owned).collect();
    let deliveries = receiver.until(|deliveries| deliveries.len() >= expected.len());
    assert_eq!(deliveries.iter().map(body_of).collect::<BTreeSet<_>>(), expected);
    gateway.log_line(|line| line["message"] == "the inbox takes callbacks again");
    let lines = gateway.printed().matches(told).count();
    assert_eq!(lines, 1, "it is told once: {}", gateway.printed());
}

#[test]
fn the_lock_of_another_gateway_is_waited_for() {
    let (scene, receiver) = (Scene::new(), Receiver::new());
    let mut first = scene.start(&Refusing::new().url());
    assert_acknowledged(&call_back(&mut platform(&first), &plain("{\"call_id\":\"one\"}")));
    let second = scene.start(&receiver.url());
    assert_only_calls(&second, "failed", "another gateway uses the inbox");
    assert_acknowledged(&call_back(&mut platform(&first), &plain("{\"call_id\":\"two\"}")));
    first.kill();
    assert_whole(&second, &receiver, "another gateway uses", &["{\"call_id\":\"one\"}", "{\"call_id\":\"two\"}"]);
}

#[test]
fn a_receiver_that_is_configured_before_the_inbox_opens_is_not_told_to_be_missing() {
    let (scene, receiver) = (Scene::new(), Receiver::new());
    let mut first = scene.start(&Refusing::new().url());
    assert_acknowledged(&call_back(&mut platform(&first), &plain("{\"call_id\":\"one\"}")));
    let second = scene.setup("crm", &receiver.url()).start(&scene.simulated).ready();
    second.reload_as(&scene.setup("books", &receiver.url()), &scene.simulated.url());
    first.kill();
    assert_whole(&second, &receiver, "another gateway uses", &["{\"call_id\":\"one\"}"]);
    let told = second.printed();
    assert!(!told.contains("deliveries wait for a receiver that is not configured"), "{told}");
}

#[test]
fn a_disk_that_is_full_at_the_start_is_waited_for() {
    let (scene, receiver) = (Scene::new(), Receiver::new());
    let Some(mounted) = Mounted::try_new(scene.data(), "4m") else { return };
    scene.leave("{\"call_id\":\"one\"}");
    let ballast = mounted.fill();
    let gateway = scene.start(&receiver.url());
    assert_only_calls(&gateway, "full", "the disk of inbox.path is full");
    drop(ballast);
    assert_whole(&gateway, &receiver, "the disk of inbox.path is full", &["{\"call_id\":\"one\"}"]);
}

#[test]
fn a_disk_that_is_full_before_there_is_a_database_is_waited_for() {
    let (scene, receiver) = (Scene::new(), Receiver::new());
    let Some(mounted) = Mounted::try_new(scene.data(), "4m") else { return };
    let ballast = mounted.fill();
    let gateway = scene.start(&receiver.url());
    assert_only_calls(&gateway, "full", "the disk of inbox.path is full");
    drop(ballast);
    assert_whole(&gateway, &receiver, "the disk of inbox.path is full", &[]);
}

#[test]
fn a_disk_that_is_read_only_at_the_start_is_waited_for() {
    let (scene, receiver) = (Scene::new(), Receiver::new());
    let Some(mounted) = Mounted::try_new(scene.data(), "8m") else { return };
    scene.leave("{\"call_id\":\"one\"}");
    mounted.remount("ro");
    let gateway = scene.start(&receiver.url());
    assert_only_calls(&gateway, "failed", "let the gateway write it");
    mounted.remount("rw");
    assert_whole(&gateway, &receiver, "let the gateway write it", &["{\"call_id\":\"one\"}"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_waited_for() {
    let (scene, receiver) = (Scene::new(), Receiver::new());
    std::fs::write(scene.data(), "a file in its place").expect("written");
    let gateway = scene.start(&receiver.url());
    assert_only_calls(&gateway, "failed", "let the gateway write it");
    std::fs::remove_file(scene.data()).expect("removed");
    assert_whole(&gateway, &receiver, "let the gateway write it", &[]);
}

#[test]
fn a_corrupt_database_is_waited_for_until_it_is_restored_or_moved_away() {
    for restored in [true, false] {
        let (scene, receiver) = (Scene::new(), Receiver::new());
        scene.leave("{\"call_id\":\"one\"}");
        let whole = std::fs::read(scene.database()).expect("a database");
        std::fs::write(scene.database(), vec![0; whole.len()]).expect("damaged");
        let gateway = scene.start(&receiver.url());
        assert_only_calls(&gateway, "failed", "is corrupt");
        if restored {
            std::fs::write(scene.database(), whole).expect("restored");
            assert_whole(&gateway, &receiver, "is corrupt", &["{\"call_id\":\"one\"}"]);
        } else {
            for file in ["inbox.db", "inbox.db-wal", "inbox.db-shm"] {
                let _ = std::fs::rename(scene.data().join(file), scene.folder.path().join(file));
            }
            assert_whole(&gateway, &receiver, "is corrupt", &[]);
        }
    }
}

#[test]
fn it_stops_in_good_order_without_an_inbox() {
    let scene = Scene::new();
    let _first = scene.start(&Refusing::new().url());
    let mut second = scene.start(&Refusing::new().url());
    assert_only_calls(&second, "failed", "another gateway");
    second.terminate();
    assert!(second.wait().success(), "{}", second.printed());
}

#[test]
fn an_inbox_without_a_listener_delivers_what_waits_in_it() {
    let (scene, receiver) = (Scene::new(), Receiver::new());
    scene.leave("{\"call_id\":\"one\"}");
    let more = format!("[inbox]\n[[receiver]]\nname = \"books\"\nurl = \"{}\"\n", receiver.url());
    let setup = Setup { folder: Some(scene.folder.clone()), more, ..Setup::default() };
    let mut gateway = setup.start(&scene.simulated).ready();
    assert_eq!((gateway.inbound, gateway.metric("inbox_up")), (None, 1.0));
    let delivered = receiver.until(|deliveries| !deliveries.is_empty());
    assert_eq!(body_of(&delivered[0]), "{\"call_id\":\"one\"}");
    gateway.until(|gateway| entries(gateway).json()["entries"][0]["state"] == "delivered");
    assert_eq!(gateway.admin_page("/readyz/inbound").0, 404);
    assert_eq!(gateway.client().get("/service/cloud/robot").status, 200);
    gateway.terminate();
    assert!(gateway.wait().success(), "{}", gateway.printed());
}
