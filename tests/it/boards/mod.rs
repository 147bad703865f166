//! The boards of `conf/grafana`: each panel says what it shows, and shows it. A real Prometheus scrapes a gateway in which
//! everything happens that a board can show.

mod traffic;

use std::process::Command;

use airudder_gateway::clock;
use serde_json::Value;

use traffic::Traffic;

use crate::support::PATIENCE;
use crate::support::prometheus::Prometheus;
use crate::support::tools::of_project;

const BOARDS: [&str; 4] = ["health", "outbound", "callbacks", "runtime"];

/// Panels that may show nothing, or nothing but zeros, though much happens; and why.
const MAY_BE_EMPTY: &[(&str, &str)] = &[
    ("Breakers not closed", "the platform answers, so none opens"),
    ("Lost callbacks, a day", "the platform gives up after five minutes"),
    ("Lost", "the platform gives up after five minutes"),
    ("Calls in flight", "a scrape may find none"),
    ("Waiting calls", "a scrape may find none"),
    ("Log lines dropped", "the test reads the log"),
    ("Rows set aside", "the disk is sound"),
    ("Certificate ends in", "the listener has none here; a drill renews one"),
];

/// One query of one panel.
struct Query {
    panel: String,
    expression: String,
}

fn board(name: &str) -> Value {
    let path = of_project(&format!("conf/grafana/boards/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).expect("JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("{key} of {value}"))
}

/// The panels that show something.
fn panels(board: &Value) -> Vec<&Value> {
    board["panels"].as_array().expect("panels").iter().filter(|panel| panel["type"] != "row").collect()
}

/// Its queries, as Prometheus is asked them here.
fn queries(board: &Value) -> Vec<Query> {
    let of_panel = |panel: &&Value| {
        let title = text(panel, "title").to_owned();
        let targets = panel["targets"].as_array().expect("targets").clone();
        targets.into_iter().map(move |target| Query {
            panel: title.clone(),
            expression: text(&target, "expr").replace("$job", "airudder-gateway").replace("$__rate_interval", "5s"),
        })
    };
    panels(board).iter().flat_map(of_panel).collect()
}

#[test]
fn the_boards_are_as_the_generator_writes_them() {
    let done = Command::new(of_project("conf/grafana/generate")).arg("--check").output().expect("python3 is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn every_panel_has_a_unit_a_description_and_a_place_of_its_own() {
    let mut titles = Vec::new();
    for name in BOARDS {
        let board = board(name);
        assert_eq!(text(&board, "uid"), format!("airudder-gateway-{name}"));
        let mut taken = [[false; 24]; 200];
        for panel in board["panels"].as_array().expect("panels") {
            let title = text(panel, "title");
            let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number") as usize);
            for row in &mut taken[place[1]..place[1] + place[3]] {
                for cell in &mut row[place[0]..place[0] + place[2]] {
                    assert!(!std::mem::replace(cell, true), "{name}: {title} covers another panel");
                }
            }
        }
        for panel in panels(&board) {
            assert!(text(panel, "description").ends_with('.'), "{name}: {panel}");
            text(&panel["fieldConfig"]["defaults"], "unit");
            titles.push(text(panel, "title").to_owned());
        }
    }
    for (title, _) in MAY_BE_EMPTY {
        assert!(titles.iter().any(|known| known == title), "{title} is excused and on no board");
    }
}

#[test]
fn every_panel_shows_what_happens() {
    let traffic = Traffic::start();
    let prometheus = Prometheus::start(&traffic.gateway);
    let mut open: Vec<_> = BOARDS.iter().flat_map(|name| queries(&board(name))).collect();
    assert!(open.len() > 60, "the boards");
    let end = clock::now() + PATIENCE;
    traffic.flows_while(|| {
        // Those that have no data yet are asked again, until traffic and scrapes have come by.
        while !open.is_empty() && clock::now() < end {
            open.retain(|query| {
                let found = prometheus.query(&query.expression);
                let excused = MAY_BE_EMPTY.iter().any(|(title, _)| *title == query.panel);
                !excused && !found.iter().any(|value| value.is_finite() && *value != 0.0)
            });
        }
    });
    let empty: Vec<_> = open.iter().map(|query| format!("{}: {}", query.panel, query.expression)).collect();
    assert!(empty.is_empty(), "no data in\n{}", empty.join("\n"));
}
