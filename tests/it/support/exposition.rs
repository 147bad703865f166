//! A strict reader of the Prometheus text format 0.0.4: what a scraper could misread is a failure.

use std::collections::BTreeMap;

use airudder_gateway::metrics::catalogue::{self, PREFIX, Values};

/// A page of metrics, taken apart and checked.
#[derive(Debug)]
pub(crate) struct Exposition {
    /// Each sample as `name{label="value",…}` with its labels in order of names, and its value.
    pub(crate) samples: BTreeMap<String, f64>,
}

/// One sample line.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Exposition {
    /// Reads a page. Panics with the line that is not as the format says.
    pub(crate) fn parse(page: &str) -> Self {
        assert!(page.ends_with('\n'), "the last line ends");
        let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut lines = page.lines().peekable();
        while let Some(line) = lines.next() {
            let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
            let (name, _) = help.unwrap_or_else(|| panic!("a family starts with its help: {line}"));
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            let kind = kind.unwrap_or_else(|| panic!("the type of {name} follows its help"));
            assert!(is_name(name) && kinds.insert(name, kind).is_none(), "{name} is a name and comes once");
            assert_eq!(kind == "counter", name.ends_with("_total"), "only counters are totals: {name}");
            let mut family = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                family.push(Sample::parse(line));
            }
            match kind {
                "histogram" => check_histogram(name, &family),
                "counter" | "gauge" => assert!(family.iter().all(|sample| sample.name == name), "samples of {name}"),
                _ => panic!("{name} is a {kind}"),
            }
            assert!(!family.is_empty(), "{name} has a sample");
            if let Some(ours) = name.strip_prefix(PREFIX) {
                check_catalogue(ours, kind, &family);
            }
            for sample in family {
                let (series, value) = (sample.series(), sample.value);
                assert!(samples.insert(series, value).is_none(), "{name} twice with the same labels");
            }
        }
        Self { samples }
    }

    /// A sample of ours, 0 when there is none (yet): `calls_in_flight`, `answers_total{account="main",code="2xx"}`.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.samples.get(&format!("airudder_gateway_{series}")).copied().unwrap_or(0.0)
    }

    /// Names and labels of every sample.
    pub(crate) fn series(&self) -> Vec<&str> {
        self.samples.keys().map(String::as_str).collect()
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a value: {line}"));
        let (name, labels) = series.split_once('{').map_or((series, None), |(name, labels)| (name, Some(labels)));
        assert!(is_name(name), "a name: {line}");
        let mut found = BTreeMap::new();
        let mut rest =
            labels.map_or("", |labels| labels.strip_suffix('}').unwrap_or_else(|| panic!("a brace: {line}")));
        while !rest.is_empty() {
            let (label, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("a quoted value: {line}"));
            assert!(is_name(label) && !label.contains(':'), "a label: {line}");
            // The first quote that no backslash escapes ends the value.
            let escapes = |at: &usize| quoted[..*at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
            let end = quoted.match_indices('"').map(|(at, _)| at).find(|at| !escapes(at));
            let end = end.unwrap_or_else(|| panic!("an end of the value: {line}"));
            assert!(found.insert(label.to_owned(), quoted[..end].to_owned()).is_none(), "{label} twice: {line}");
            rest = &quoted[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or_else(|| {
                assert!(rest.is_empty(), "a comma between labels: {line}");
                rest
            });
        }
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().expect("a number") };
        Self { name: name.to_owned(), labels: found, value }
    }

    fn series(&self) -> String {
        let labels: Vec<_> = self.labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        if labels.is_empty() { self.name.clone() } else { format!("{}{{{}}}", self.name, labels.join(",")) }
    }
}

/// Buckets grow with their bounds, the last one is `+Inf` and equals the count, and there is a sum.
fn check_histogram(name: &str, family: &[Sample]) {
    let mut by_labels: BTreeMap<_, Vec<(&Sample, f64)>> = BTreeMap::new();
    for sample in family {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        assert_eq!(bound.is_some(), sample.name.ends_with("_bucket"), "{}", sample.series());
        let bound = bound.map_or(f64::NAN, |bound| bound.trim_start_matches('+').parse().expect("a bound"));
        by_labels.entry(labels).or_default().push((sample, bound));
    }
    for (labels, samples) in by_labels {
        let buckets: Vec<_> = samples.iter().filter(|(_, bound)| !bound.is_nan()).collect();
        let pairs = buckets.windows(2);
        for pair in pairs {
            assert!(pair[0].1 < pair[1].1 && pair[0].0.value <= pair[1].0.value, "{name} {labels:?} is not monotone");
        }
        let single = |suffix: &str| {
            let mut found = samples.iter().filter(|(sample, _)| sample.name == format!("{name}{suffix}"));
            let value = found.next().unwrap_or_else(|| panic!("{name}{suffix} {labels:?}")).0.value;
            assert!(found.next().is_none(), "{name}{suffix} {labels:?} once");
            value
        };
        let last = buckets.last().unwrap_or_else(|| panic!("{name} {labels:?} has buckets"));
        assert!(last.1.is_infinite() && last.0.value == single("_count"), "{name} {labels:?}: +Inf is the count");
        assert!(single("_sum") >= 0.0, "{name} {labels:?}");
    }
}

/// What is shown is what the catalogue says: so every test that reads metrics shows a word that it lacks.
fn check_catalogue(name: &str, kind: &str, family: &[Sample]) {
    let series = catalogue::find(name).unwrap_or_else(|| panic!("{name} does not stand in the catalogue"));
    assert_eq!(series.kind.as_str(), kind, "{name}");
    for sample in family {
        let labels: Vec<_> = sample.labels.keys().filter(|label| *label != "le").collect();
        assert_eq!(labels.len(), series.labels.len(), "{}", sample.series());
        for label in series.labels {
            let value = sample.labels.get(label.name).unwrap_or_else(|| panic!("{name} has {}", label.name));
            if let Values::Closed(words) = label.values {
                assert!(words.contains(&value.as_str()), "the catalogue lacks {name} {}={value}", label.name);
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(is_of_name)
}
