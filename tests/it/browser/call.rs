//! The page of a phone call: it tells what the data tells, and sends a dead letter again by a click.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use airudder_gateway::simulator::Simulator;

use super::{WIDTHS, check, url};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Browser, Client, Gateway, Setup, platform};

const PATH: &str = "/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05";

fn start(platform: &Simulator, receiver: &str) -> Gateway {
    let more = format!(
        "[inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n\
         [[source]]\nname = \"calls\"\npath = \"{PATH}\"\nreceivers = [\"books\"]\nencryption = \"auto\"\n\
         [[receiver]]\nname = \"books\"\nurl = \"{receiver}\"\n"
    );
    Setup { more, sealed: false, ..Setup::default() }.start(platform).ready()
}

#[test]
fn a_dead_letter_is_sent_again_by_a_click() {
    let platform = platform();
    let status = Arc::new(AtomicU16::new(410));
    let told = status.clone();
    let receiver = Receiver::answering(move |_| Reply::Status(told.load(Ordering::SeqCst)));
    let gateway = start(&platform, &receiver.url());
    let created =
        gateway.client().post("/service/cloud/task", r#"{"TaskName":"a","Details":[{"Callee":"+6281200000001"}]}"#);
    let task = created.json()["data"]["TaskID"].as_str().expect("an id").to_owned();
    let mut calling = Client::connect(gateway.inbound.expect("callbacks are configured"));
    let said =
        format!(r#"{{"task_id":"{task}","call_id":"call-<b>1</b>","callee":"+6281200000001","status":"finished"}}"#);
    assert_eq!(calling.post(PATH, said).status, 200);
    let data = format!("/call.json?id={task}");
    gateway.until(|gateway| {
        let data = super::data(gateway, &data);
        data["callbacks"][0]["state"] == "dead" && data["requests"][0].is_object()
    });

    for (width, scheme) in [(WIDTHS[0], "dark"), (WIDTHS[1], "light")] {
        let mut browser = Browser::start(width, scheme);
        browser
            .open(&url(&gateway, &format!("/call?id={task}")))
            .until("document.documentElement.dataset.state === 'warn'");
        let text = browser.text();
        let data = super::data(&gateway, &data);
        for event in data["events"].as_array().expect("events") {
            let sentence = event["sentence"].as_str().expect("a sentence");
            assert!(text.contains(sentence), "{sentence}: {text}");
        }
        assert!(text.contains("number ending in 01") && !text.contains("6281200000001"), "{text}");
        check(&mut browser, &gateway);
    }

    status.store(200, Ordering::SeqCst);
    let mut browser = Browser::start(WIDTHS[1], "light");
    browser.open(&url(&gateway, &format!("/call?id={task}"))).until("document.querySelector('.dead button')");
    browser
        .click(".dead button")
        .until("document.getElementById('sentence').innerText.includes('It is being sent again.')");
    receiver.until(|deliveries| deliveries.len() == 2);
    gateway.until(|gateway| super::data(gateway, &data)["callbacks"][0]["state"] == "delivered");
    // Asked again by the form, in a new document, it is delivered.
    browser.value("window.isFormer = true");
    browser
        .click("#ask button")
        .until("!window.isFormer && document.querySelector('.delivered') && !document.querySelector('.events button')");
    check(&mut browser, &gateway);
    assert_eq!(browser.value("new URLSearchParams(location.search).get('id')"), task);
}

#[test]
fn an_id_that_nobody_knows_is_told_so() {
    let platform = platform();
    let gateway = start(&platform, "http://127.0.0.1:9");
    let mut browser = Browser::start(WIDTHS[0], "light");
    browser.open(&url(&gateway, "/call?id=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"));
    browser.until("document.documentElement.dataset.state === 'bad'");
    assert!(browser.text().contains("Nothing is known of this id"));
    assert_eq!(browser.value("document.images.length"), 0);
    check(&mut browser, &gateway);
    browser.open(&url(&gateway, "/call")).until("document.getElementById('state').hidden");
    check(&mut browser, &gateway);
}
