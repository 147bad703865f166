//! A drill for each alert: a real gateway gets into the trouble, the alert fires on what it showed meanwhile, and clears
//! on what it shows afterwards. No alert without a drill, and none without a section in the runbook.

mod callbacks;
mod calls;
mod machine;
mod scene;
mod timeline;

use std::process::Stdio;

use scene::{Drill, Scene};

use crate::support::tools::{of_project, tool};

/// An alert and how it comes about.
type Rehearsal = (&'static str, fn(Drill));

macro_rules! drills {
    ($($name:ident: $alert:literal by $drill:path;)+) => {
        /// All of them.
        const DRILLS: &[Rehearsal] = &[$(($alert, $drill),)+];

        $(
            #[test]
            fn $name() {
                $drill(Drill::of($alert));
            }
        )+
    };
}

drills! {
    the_error_budget_burns_fast: "AirudderGatewayErrorBudgetFast" by calls::all_fail;
    the_error_budget_burns_slowly: "AirudderGatewayErrorBudgetSlow" by calls::one_in_a_hundred_fails;
    the_token_is_nearly_over: "AirudderGatewayTokenNearExpiry" by calls::no_login_succeeds;
    outcomes_are_unknown: "AirudderGatewayUnknownOutcomes" by calls::no_answer_comes;
    keys_are_unsettled: "AirudderGatewayKeysUnsettled" by calls::nobody_settles_a_key;
    answers_cannot_be_opened: "AirudderGatewayAnswersUnreadable" by calls::answers_are_sealed_with_another_key;
    the_platform_throttles: "AirudderGatewayPlatformThrottles" by calls::the_platform_says_no;
    a_breaker_is_open: "AirudderGatewayBreakerOpen" by calls::the_platform_is_silent;
    callbacks_will_be_lost: "AirudderGatewayCallbackLossNear" by callbacks::one_is_altered;
    callbacks_are_silent: "AirudderGatewayCallbacksSilent" by callbacks::none_come;
    callbacks_cannot_be_opened: "AirudderGatewayCallbacksUnreadable" by callbacks::somebody_probes;
    the_inbox_is_down: "AirudderGatewayInboxDown" by callbacks::the_database_is_locked;
    the_inbox_is_old: "AirudderGatewayInboxOld" by callbacks::the_receiver_refuses;
    letters_are_dead: "AirudderGatewayDeadLetters" by callbacks::the_receiver_is_gone;
    the_disk_is_nearly_full: "AirudderGatewayDiskLow" by machine::little_space_is_left;
    syncs_are_slow: "AirudderGatewaySyncSlow" by machine::the_disk_is_slow;
    the_gateway_is_down: "AirudderGatewayDown" by machine::it_is_killed;
    a_reload_is_refused: "AirudderGatewayReloadRefused" by machine::a_configuration_is_refused;
    an_upgrade_is_refused: "AirudderGatewayUpgradeRefused" by machine::the_next_process_cannot_serve;
    the_certificate_expires: "AirudderGatewayCertificateExpires" by machine::the_certificate_is_nearly_over;
    alerts_arrive: "AirudderGatewayWatchdog" by machine::nothing_happens;
}

fn read(path: &str) -> String {
    std::fs::read_to_string(of_project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The alerts of the rules, each with where its runbook is.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let parts = rules.split("- alert: ").skip(1);
    let named = |part: &'static str, key: &str| -> &str {
        let line = part.lines().find_map(|line| line.trim().strip_prefix(key));
        line.unwrap_or_else(|| panic!("an alert lacks {key} {part}"))
    };
    parts
        .map(|part| part.to_owned().leak() as &'static str)
        .map(|part| (part.lines().next().unwrap_or_default(), named(part, "runbook_url: ")))
        .collect()
}

#[test]
fn every_alert_has_a_drill_and_a_section_in_the_runbook() {
    let (rules, runbook) = (read("conf/prometheus/airudder-gateway.rules.yml"), read("docs/runbook.md"));
    let alerts = alerts(&rules);
    let drilled: Vec<_> = DRILLS.iter().map(|(alert, _)| *alert).collect();
    let mut named: Vec<_> = alerts.iter().map(|(alert, _)| *alert).collect();
    for (alert, url) in &alerts {
        assert!(drilled.contains(alert), "{alert} has no drill");
        assert_eq!(*url, format!("docs/runbook.md#{}", alert.to_lowercase()));
        let (_, section) =
            runbook.split_once(&format!("\n## {alert}\n")).unwrap_or_else(|| panic!("no section {alert}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        for part in ["**What it means.**", "**How bad.**", "**Look at.**", "**Do.**"] {
            assert!(section.contains(part), "the section of {alert} lacks {part}");
        }
    }
    named.sort_unstable();
    let mut sections: Vec<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    sections.sort_unstable();
    assert_eq!(sections, named, "the runbook has a section for each alert and no other");
    assert_eq!(drilled.len(), alerts.len(), "a drill is for an alert that is gone");
}

#[test]
fn prometheus_takes_the_rules_the_sample_configuration_and_the_metrics() {
    for (what, file) in [("rules", "airudder-gateway.rules.yml"), ("config", "prometheus.yml")] {
        let done = tool("promtool").args(["check", what]).arg(of_project("conf/prometheus").join(file)).output();
        let done = done.expect("promtool runs");
        assert!(done.status.success(), "{file}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let scene = Scene::new();
    scene.call(3);
    scene.call_back("c-1");
    let page = scene.gateway.admin_page("/metrics").1;
    let mut check = tool("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().expect("promtool runs");
    std::io::Write::write_all(&mut check.stdin.take().expect("its input"), page.as_bytes()).expect("it reads");
    let done = check.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
