//! The status page: what a person sees in ten seconds is what the data says.

use airudder_gateway::simulator::{Fault, Simulator};

use super::{WIDTHS, check, url};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Browser, Client, Gateway, Setup, platform};

const PATH: &str = "/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05";

const TOKEN: &str = "a token of operators";

fn setup(receiver: &str) -> Setup {
    Setup {
        admin: "token = { env = \"ADMIN_TOKEN\" }".to_owned(),
        env: vec![("ADMIN_TOKEN".to_owned(), TOKEN.to_owned()), ("BOOKS_KEY".to_owned(), "key of books".to_owned())],
        more: format!(
            "[[program]]\nname = \"bookkeeping-of-the-whole-company\"\napi_key = {{ env = \"BOOKS_KEY\" }}\n\
             [inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n\
             [[source]]\nname = \"calls\"\npath = \"{PATH}\"\nreceivers = [\"books\"]\nencryption = \"auto\"\n\
             [[receiver]]\nname = \"books\"\nurl = \"{receiver}\"\n"
        ),
        ..Setup::default()
    }
}

/// Calls that went well, one that failed, and a callback that nobody wanted.
fn traffic(gateway: &Gateway, platform: &Simulator) {
    let key = "X-Gateway-Key: key of books\r\n";
    let list = format!("GET /service/cloud/list?page=1 HTTP/1.1\r\nHost: gateway\r\n{key}\r\n");
    for _ in 0..3 {
        assert_eq!(gateway.client().send(&list).answer().status, 200);
    }
    platform.fault(Fault::status(500));
    assert_eq!(gateway.client().send(&list).answer().status, 500);
    let mut calling = Client::connect(gateway.inbound.expect("callbacks are configured"));
    assert_eq!(calling.post(PATH, r#"{"task_id":"task-1","call_id":"call-1","callee":"+6281200000001"}"#).status, 200);
    gateway.until(|gateway| gateway.metric("dead_letters_total{reason=\"gone\",receiver=\"books\"}") == 1.0);
}

#[test]
fn the_page_shows_what_the_data_says_wherever_it_is_looked_at() {
    let platform = platform();
    let receiver = Receiver::answering(|_| Reply::Status(410));
    let gateway = setup(&receiver.url()).start(&platform).ready();
    traffic(&gateway, &platform);
    for (width, scheme, ground) in [(WIDTHS[0], "light", "rgb(251, 250, 248)"), (WIDTHS[1], "dark", "rgb(20, 23, 26)")]
    {
        let mut browser = Browser::start(width, scheme).with_password(TOKEN);
        browser.open(&url(&gateway, "/")).until("document.documentElement.dataset.state === 'warn'");
        browser.until("document.querySelector('#receivers tbody')");
        // The counts of the store are shown within a second or two.
        browser.until("document.getElementById('troubles').innerText.includes('1 dead letter of receiver books')");
        let text = browser.text();
        for shown in
            ["Working; 1 thing to look at.", "bookkeeping-of-the-whole-company", "answer 500", "left", "gone", "closed"]
        {
            assert!(text.contains(shown), "{shown}: {text}");
        }
        assert!(!text.contains("6281200000001") && !text.contains("call-1") && !text.contains("undefined"), "{text}");
        let row = browser.value("[...document.querySelectorAll('#programs tbody tr')].map((row) => [...row.cells].slice(0, 6).map((cell) => cell.innerText))");
        assert_eq!(row, serde_json::json!([["bookkeeping-of-the-whole-company", "4", "3", "0", "0", "1"]]));
        assert_eq!(browser.value("getComputedStyle(document.body).backgroundColor"), ground);
        check(&mut browser, &gateway);
    }
}

#[test]
fn a_gateway_that_is_gone_is_told_and_one_that_is_back_as_well() {
    let platform = platform();
    let mut gateway = Setup::default().start(&platform).ready();
    let address = gateway.admin;
    let mut browser = Browser::start(WIDTHS[1], "light");
    browser.open(&url(&gateway, "/status")).until("document.documentElement.dataset.state === 'good'");
    assert!(browser.text().contains("Healthy: calls go out."));
    browser.click("a[href='/status.json']").until("document.body.innerText.includes('\"state\":\"good\"')");
    browser.open(&url(&gateway, "/status")).until("document.documentElement.dataset.state === 'good'");
    gateway.kill();
    browser.until("document.documentElement.dataset.state === 'stale'");
    let text = browser.text();
    assert!(text.contains("The gateway does not answer. What stands below is from"), "{text}");
    assert!(text.contains("Accounts"), "what was known stays: {text}");
    let back = Setup::default().start_changed(&platform.url(), |text| {
        text.replace("[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"{address}\""))
    });
    browser.until("document.documentElement.dataset.state === 'good'");
    drop(back);
}
