//! A real browser: Chromium without a window, spoken to over a pair of pipes (DevTools protocol).
//!
//! It knows what a page asked for and what it complained about. Nothing of it leaves this machine.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use airudder_gateway::clock;
use serde_json::{Value, json};

use super::gateway::{Folder, PATIENCE};

/// What keeps it quiet and by itself. As root it has no sandbox; what it opens is ours.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "--force-color-profile=srgb",
];

/// A running browser with one page. It is killed when dropped.
pub(crate) struct Browser {
    child: Child,
    commands: File,
    answers: BufReader<File>,
    session: Option<String>,
    number: u64,
    /// Events that came, in their order.
    events: Vec<Value>,
    /// User and password, for a page that asks.
    password: Option<String>,
    _folder: Folder,
}

impl Browser {
    /// Starts it with an empty page of this width in CSS pixels, in light or in dark.
    pub(crate) fn start(width: u32, scheme: &str) -> Self {
        let folder = Folder::new();
        let path = |name: &str| folder.path().join(name);
        let made = Command::new("mkfifo").args([path("commands"), path("answers")]).status().expect("mkfifo runs");
        assert!(made.success());
        // The protocol's pipes are the descriptors 3 and 4.
        let child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<\"$0/commands\" 4>\"$0/answers\""])
            .arg(folder.path())
            .arg("chromium")
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", path("profile").display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let commands = OpenOptions::new().write(true).open(path("commands")).expect("its commands");
        let answers = BufReader::new(File::open(path("answers")).expect("its answers"));
        let mut browser = Self {
            child,
            commands,
            answers,
            session: None,
            number: 0,
            events: Vec::new(),
            password: None,
            _folder: folder,
        };
        let target = browser.tell("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.tell("Target.attachToTarget", &attach)["sessionId"].clone();
        browser.session = session.as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.tell(&format!("{domain}.enable"), &json!({}));
        }
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        browser.tell("Emulation.setDeviceMetricsOverride", &size);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.tell("Emulation.setEmulatedMedia", &media);
        browser
    }

    /// Answers a page that asks for a password.
    pub(crate) fn with_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.tell("Fetch.enable", &json!({"handleAuthRequests": true}));
        self
    }

    /// Opens a page, whole.
    pub(crate) fn open(&mut self, url: &str) -> &mut Self {
        self.events.clear();
        let opened = self.tell("Page.navigate", &json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let found = self.tell("Runtime.evaluate", &asked);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {found}");
        found["result"]["value"].clone()
    }

    /// The text of the page, as a person reads it.
    pub(crate) fn text(&mut self) -> String {
        self.value("document.body.innerText").as_str().expect("text").to_owned()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) -> &mut Self {
        let end = clock::now() + PATIENCE;
        // Between two documents there is nothing that could say so.
        let asked =
            json!({"expression": format!("Boolean({expression})"), "returnByValue": true, "awaitPromise": true});
        while self.ask("Runtime.evaluate", &asked)["result"]["result"]["value"] != true {
            assert!(clock::now() < end, "{expression} never came: {} {:?}", self.text(), self.complaints());
            std::thread::yield_now();
        }
        self
    }

    /// A click of the mouse on an element.
    pub(crate) fn click(&mut self, selector: &str) -> &mut Self {
        let find = format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()",
            json!(selector)
        );
        let place = self.value(&find);
        for kind in ["mousePressed", "mouseReleased"] {
            let click = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.tell("Input.dispatchMouseEvent", &click);
        }
        self
    }

    /// What the page asked for, beside itself.
    pub(crate) fn asked(&self) -> Vec<String> {
        let urls = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        urls.filter_map(|event| event["params"]["request"]["url"].as_str()).map(str::to_owned).collect()
    }

    /// Errors in the console, exceptions, and what the policy of the page forbade.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let is_one = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning", "assert"].iter().any(|kind| event["params"]["type"] == *kind)
            }
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(is_one).map(|event| event["params"].to_string()).collect()
    }

    /// One command, and the result that it has to have.
    fn tell(&mut self, method: &str, parameters: &Value) -> Value {
        let mut answer = self.ask(method, parameters);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }

    /// One command, and its answer. Events that come before it are kept.
    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        let number = self.send(method, parameters);
        loop {
            let message = self.message();
            if message["id"] == number {
                return message;
            }
            self.keep(message);
        }
    }

    fn send(&mut self, method: &str, parameters: &Value) -> u64 {
        self.number += 1;
        let mut command = json!({"id": self.number, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).expect("it listens");
        self.number
    }

    fn message(&mut self) -> Value {
        let mut message = Vec::new();
        self.answers.read_until(0, &mut message).expect("it answers");
        assert!(message.pop() == Some(0), "Chromium is not there; `make setup-test` installs it");
        serde_json::from_slice(&message).expect("JSON")
    }

    fn keep(&mut self, event: Value) {
        let request = event["params"]["requestId"].clone();
        match event["method"].as_str() {
            Some("Fetch.requestPaused") => {
                self.send("Fetch.continueRequest", &json!({"requestId": request}));
            }
            Some("Fetch.authRequired") => {
                let known =
                    json!({"response": "ProvideCredentials", "username": "operator", "password": self.password});
                self.send("Fetch.continueWithAuth", &json!({"requestId": request, "authChallengeResponse": known}));
            }
            Some(_) => self.events.push(event),
            None => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
