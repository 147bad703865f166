//! The pages for people, in a real browser: they show what the data says, complain about nothing and ask nobody else.

mod call;
mod status;

use serde_json::Value;

use crate::support::{Browser, Client, Gateway};

/// A phone, and a desk.
const WIDTHS: [u32; 2] = [320, 1200];

/// Where a page of the admin listener is.
fn url(gateway: &Gateway, path: &str) -> String {
    format!("http://{}{path}", gateway.admin)
}

/// The data that a page draws.
fn data(gateway: &Gateway, path: &str) -> Value {
    let answer =
        Client::connect(gateway.admin).send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer();
    assert_eq!(answer.status, 200);
    answer.json()
}

/// A page is as it should be, wherever it is looked at: nothing to complain about, nobody else asked, no way to scroll
/// sideways, one first heading, and text that stands out from its ground.
fn check(browser: &mut Browser, gateway: &Gateway) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = url(gateway, "/");
    let foreign: Vec<_> =
        browser.asked().into_iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:")).collect();
    assert_eq!(foreign, Vec::<String>::new());
    let (content, window) =
        (browser.value("document.documentElement.scrollWidth"), browser.value("document.documentElement.clientWidth"));
    assert!(content.as_u64() <= window.as_u64(), "{content} of {window} pixels");
    assert_eq!(browser.value("document.querySelectorAll('h1').length"), 1);
    assert_eq!(browser.value("document.documentElement.lang"), "en");
    let faint = browser.value(FAINT);
    assert_eq!(faint, Value::Array(Vec::new()), "text with a contrast under 4.5 (WCAG 2.2, 1.4.3)");
}

/// Texts whose contrast with their ground is under 4.5.
const FAINT: &str = r#"(() => {
    const channels = (color) => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = channels(getComputedStyle(at).backgroundColor);
            if (color.length === 3 || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    return [...document.querySelectorAll("body *")].filter((element) =>
        [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && element.checkVisibility()
        && !["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)
    ).filter((element) => {
        const [a, b] = [light(channels(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05) < 4.5;
    }).map((element) => element.outerHTML.slice(0, 100));
})()"#;
