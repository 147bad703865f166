//! Hours in a moment: what a real gateway showed before, during and after a trouble, stretched over time, and the rules
//! evaluated on it by `promtool test rules`.
//!
//! A counter goes on growing in each minute by what it grew between two scrapes. A gauge stays. Ages and the time to loss
//! go with the clock, and a point in time keeps its distance from the moment at which it was scraped.

use std::fmt::Write as _;
use std::path::Path;

use airudder_gateway::clock;
use airudder_gateway::metrics::catalogue::{self, Kind, PREFIX};

use crate::support::tools::{of_project, tool};
use crate::support::{Exposition, Folder, Gateway};

/// Minutes of calm before the trouble.
const CALM: usize = 10;

/// Minutes after it.
const AFTER: usize = 90;

/// What was scraped at one moment.
pub(super) struct Scrape {
    /// `None`: nobody answered.
    page: Option<Exposition>,
    /// Seconds since 1970.
    at: f64,
}

impl Scrape {
    pub(super) fn of(gateway: &Gateway) -> Self {
        Self { page: Some(gateway.metrics()), ..Self::failed() }
    }

    pub(super) fn failed() -> Self {
        Self { page: None, at: (clock::wall_millis() / 1000) as f64 }
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.page.as_ref()?.samples.get(series).copied()
    }
}

/// A trouble from its beginning to after its end.
pub(super) struct Timeline {
    pub(super) before: Scrape,
    pub(super) during: Scrape,
    pub(super) after: Scrape,
    /// How long the trouble lasts, in minutes.
    pub(super) minutes: usize,
}

impl Timeline {
    /// The alert is silent in the calm, fires in the trouble, and is silent again some time after.
    pub(super) fn check(&self, alert: &str) {
        let mut test = format!(
            "rule_files:\n  - {}\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n",
            of_project("conf/prometheus/airudder-gateway.rules.yml").display()
        );
        let scrapes = [&self.before, &self.during, &self.after];
        let mut all: Vec<_> =
            scrapes.iter().filter_map(|scrape| scrape.page.as_ref()).flat_map(Exposition::series).collect();
        all.sort_unstable();
        all.dedup();
        for series in all {
            series_lines(&mut test, series, &self.values(series));
        }
        let up = scrapes.map(|scrape| f64::from(scrape.page.is_some()));
        series_lines(
            &mut test,
            "up",
            &format!("{}x{} {}x{} {}x{AFTER}", up[0], CALM - 1, up[1], self.minutes - 1, up[2]).replace('x', "+0x"),
        );
        test += "  promql_expr_test:\n";
        let others = "count(ALERTS{alertstate=\"firing\",alertname!=\"AirudderGatewayWatchdog\"}) or vector(0)";
        let fires =
            format!("count(count by (alertname) (ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})) or vector(0)");
        let end = CALM + self.minutes;
        let always = f64::from(alert == "AirudderGatewayWatchdog");
        for (expression, minute, value) in [
            (others, CALM - 1, 0.0),
            (&fires, CALM - 1, always),
            (&fires, end - 1, 1.0),
            (&fires, end + AFTER - 1, always),
        ] {
            let _ = write!(
                test,
                "    - expr: '{expression}'\n      eval_time: {minute}m\n      exp_samples: [{{ labels: '{{}}', value: {value} }}]\n"
            );
        }
        let folder = Folder::new();
        let file = folder.path().join("timeline.yml");
        std::fs::write(&file, test).expect("written");
        run(&file, alert);
    }

    /// One value for each minute, as promtool writes them: from the start, by a step, so many times.
    fn values(&self, series: &str) -> String {
        let [before, during, after] = [&self.before, &self.during, &self.after].map(|scrape| scrape.value(series));
        let (trouble, name) = (self.minutes, series.split('{').next().unwrap_or_default());
        let during_start = during.map(|value| self.at(name, value, before, &self.before, &self.during, CALM));
        let step = match (before, during) {
            (Some(before), Some(during)) if grows(name) => during - before,
            _ => 0.0,
        };
        let mut values = match before {
            Some(value) => segment(self.calm(name, value), 0.0, CALM),
            None => "_ ".repeat(CALM),
        };
        values += &match (during, during_start) {
            (Some(value), _) if name.ends_with("time_to_loss_seconds") && value < 300.0 => {
                let falling = ((value / 60.0) as usize + 1).min(trouble);
                segment(value, -60.0, falling) + &segment(0.0, 0.0, trouble - falling)
            }
            (Some(value), _) if name.ends_with("_age_seconds") && value > 0.0 => segment(value, 60.0, trouble),
            (Some(_), Some(start)) => segment(start, step, trouble),
            _ => "_ ".repeat(trouble),
        };
        values += &match after {
            // Another process, which began at zero.
            Some(value) if grows(name) && during.is_some_and(|during| value < during) => segment(value, 0.0, AFTER),
            Some(value) if grows(name) => {
                let reached = during_start.unwrap_or(value) + step * (trouble - 1) as f64;
                segment(reached, value - during.unwrap_or(value), AFTER)
            }
            Some(value) => {
                let start = self.at(name, value, during, &self.during, &self.after, CALM + trouble);
                let kept = during == Some(value) && name.ends_with("_timestamp_seconds");
                segment(if kept { during_start.unwrap_or(start) } else { start }, 0.0, AFTER)
            }
            None => "_ ".repeat(AFTER),
        };
        values
    }

    /// In the calm, which ends with the first scrape.
    fn calm(&self, name: &str, value: f64) -> f64 {
        if is_time(name, value) { value - self.before.at + 60.0 * CALM as f64 } else { value }
    }

    /// Where a phase begins: a point in time that has not moved stays where it was.
    fn at(&self, name: &str, value: f64, former: Option<f64>, then: &Scrape, now: &Scrape, minute: usize) -> f64 {
        match former {
            _ if !is_time(name, value) => value,
            Some(former) if former == value && std::ptr::eq(then, &self.before) => self.calm(name, value),
            _ => value - now.at + 60.0 * minute as f64,
        }
    }
}

fn is_time(name: &str, value: f64) -> bool {
    name.ends_with("_timestamp_seconds") && value > 0.0
}

/// Whether it only grows.
fn grows(name: &str) -> bool {
    let ours = name.strip_prefix(PREFIX).unwrap_or(name);
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| ours.strip_suffix(suffix)).unwrap_or(ours);
    match catalogue::find(ours).or(catalogue::find(base)) {
        Some(series) => !matches!(series.kind, Kind::Gauge),
        None => ours.ends_with("_total"),
    }
}

fn segment(start: f64, step: f64, count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("{start}{step:+}x{} ", count - 1),
    }
}

fn series_lines(test: &mut String, series: &str, values: &str) {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let comma = if labels == "}" { "" } else { "," };
    let _ = write!(
        test,
        "  - series: '{name}{{job=\"airudder-gateway\",instance=\"gateway:9464\"{comma}{labels}'\n    values: '{}'\n",
        values.trim_end()
    );
}

fn run(file: &Path, alert: &str) {
    let done = tool("promtool").args(["test", "rules"]).arg(file).output().expect("promtool runs");
    if !done.status.success() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{alert}.yml"));
        let _ = std::fs::copy(file, &kept);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        panic!("{alert} ({}): {}{}", kept.display(), text(&done.stdout), text(&done.stderr));
    }
}
