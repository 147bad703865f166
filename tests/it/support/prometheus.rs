//! A real Prometheus that scrapes a gateway twice a second and evaluates our rules, in a folder and on a port of its own.

use std::net::SocketAddr;
use std::process::{Child, Stdio};

use airudder_gateway::clock;
use serde_json::Value;

use super::output::Output;
use super::tools::{of_project, tool};
use super::{Client, Folder, Gateway, PATIENCE};

/// Running until it is dropped.
pub(crate) struct Prometheus {
    address: SocketAddr,
    child: Child,
    _folder: Folder,
}

impl Prometheus {
    /// Starts it and waits until it answers.
    pub(crate) fn start(gateway: &Gateway) -> Self {
        let folder = Folder::new();
        let rules = of_project("conf/prometheus/airudder-gateway.rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 500ms, evaluation_interval: 500ms }}\nrule_files: [\"{}\"]\n\
             scrape_configs: [{{ job_name: airudder-gateway, static_configs: [{{ targets: [\"{}\"] }}] }}]\n",
            rules.display(),
            gateway.admin
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("written");
        let flag = |name: &str, value: &std::path::Path| format!("--{name}={}", value.display());
        let mut child = tool("prometheus")
            .args([flag("config.file", &file), flag("storage.tsdb.path", &folder.path().join("data"))])
            .arg("--web.listen-address=127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus starts");
        let output = Output::default();
        output.follow(child.stderr.take().expect("its log is ours"));
        let address = output.first(|line| {
            let (_, address) = line.contains("\"Listening on\"").then(|| line.split_once(" address="))??;
            address.trim().parse().ok()
        });
        let prometheus = Self { address, child, _folder: folder };
        let end = clock::now() + PATIENCE;
        while Client::connect(address).get("/-/ready").status != 200 {
            assert!(clock::now() < end, "it never comes: {}", output.text());
            std::thread::yield_now();
        }
        prometheus
    }

    /// What an expression gives now: the value of each series. Panics when Prometheus refuses it.
    pub(crate) fn query(&self, expression: &str) -> Vec<f64> {
        let encoded: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let answer = Client::connect(self.address).get(&format!("/api/v1/query?query={encoded}"));
        let page = answer.json();
        assert_eq!(page["status"], "success", "{expression}: {page}");
        let value = |pair: &Value| pair[1].as_str().expect("a value").parse().expect("a number");
        match page["data"]["resultType"].as_str() {
            Some("vector") => {
                page["data"]["result"].as_array().expect("a list").iter().map(|found| value(&found["value"])).collect()
            }
            Some("scalar") => vec![value(&page["data"]["result"])],
            other => panic!("{expression} gives {other:?}"),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
