//! Whether all is well, in one sentence; and what is not, worst first, each with what to do.
//!
//! It judges numbers that are there already, and names of the configuration. It asks nobody.

use serde_json::{Value, json};

use crate::inbox::Unavailable;

/// A callback that waits longer than this is late: the usual retries are over by then.
const LATE_SECONDS: u64 = 900;

/// Of the memory budget, in percent: from here on calls may soon have to wait for it.
const MEMORY_TIGHT: u64 = 90;

/// Of the calls of the last minute, in percent: more failures by fault of the platform are not single ones any more.
const PLATFORM_FAILS: u64 = 10;

/// Fewest calls in a minute that say anything about a share.
const FEWEST_CALLS: u64 = 10;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Something does not work.
    Bad,
    /// Somebody should look.
    Warn,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    severity: Severity,
    /// A stable word.
    word: &'static str,
    /// The account, source or receiver.
    name: String,
    sentence: String,
}

/// What is judged.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The platform calls back.
    pub(super) inbound: bool,
    /// Accounts without a token, and why.
    pub(super) tokenless: Vec<(String, &'static str)>,
    /// Accounts whose breaker is open, or tries whether it may close.
    pub(super) open: Vec<String>,
    pub(super) probing: Vec<String>,
    /// Why the inbox takes nothing.
    pub(super) inbox: Option<Unavailable>,
    /// Sources with the seconds until a refused callback is lost.
    pub(super) losing: Vec<(String, u64)>,
    /// Sources with how many callbacks were lost within the hour.
    pub(super) lost: Vec<(String, u64)>,
    /// Sources with bodies in quarantine.
    pub(super) quarantined: Vec<(String, u64)>,
    /// Receivers with dead letters.
    pub(super) dead: Vec<(String, u64)>,
    /// Receivers with the age of the oldest callback that waits, in seconds.
    pub(super) oldest: Vec<(String, u64)>,
    /// Calls of the last minute: well, by fault of the program, the gateway, the platform.
    pub(super) calls: [u64; 4],
    /// Idempotency keys whose call may have been carried out, and nobody knows.
    pub(super) unsettled: u64,
    /// The configuration that was read last was refused.
    pub(super) refused_reload: bool,
    /// Upgrades that this process was asked for and that were refused.
    pub(super) refused_upgrades: u64,
    /// Bytes in use, and the budget.
    pub(super) memory: (u64, u64),
}

/// Everything that is not well, worst first.
pub(super) fn troubles(facts: &Facts) -> Vec<Trouble> {
    let mut found = Vec::new();
    let mut tell = |severity, word, name: &str, sentence: String| {
        found.push(Trouble { severity, word, name: name.to_owned(), sentence });
    };
    for (account, reason) in &facts.tokenless {
        let sentence = format!("Account {account} holds no token ({reason}), so its calls are refused; see the log.");
        tell(Severity::Bad, "no_token", account, sentence);
    }
    for account in &facts.open {
        let sentence =
            format!("The platform failed account {account} several times in a row; nothing is sent for a while.");
        tell(Severity::Bad, "breaker_open", account, sentence);
    }
    if let Some(why) = facts.inbox.filter(|why| *why != Unavailable::Elsewhere) {
        let reason = why.word();
        let sentence = format!("The inbox takes no callbacks ({reason}); see the log and its disk.");
        tell(Severity::Bad, "inbox_down", "-", sentence);
    }
    for (source, seconds) in &facts.losing {
        let sentence =
            format!("Callbacks of {source} were refused; the platform gives up on the first in {seconds} s.");
        tell(Severity::Bad, "losing", source, sentence);
    }
    for (source, count) in &facts.lost {
        let sentence = format!(
            "{} of {source} lost within the hour; ask the platform for it.",
            counted(*count, "callback was", "callbacks were")
        );
        tell(Severity::Bad, "lost", source, sentence);
    }
    if facts.inbox == Some(Unavailable::Elsewhere) {
        let sentence = "An upgrade is under way, and the process before this one still has the inbox: callbacks wait, and \
                        calls with an Idempotency-Key, until its own have ended.";
        tell(Severity::Warn, "upgrading", "-", sentence.to_owned());
    }
    let [well, of_program, of_gateway, of_platform] = facts.calls;
    let all = well + of_program + of_gateway + of_platform;
    if all >= FEWEST_CALLS && of_platform * 100 > all * PLATFORM_FAILS {
        let sentence = format!("{of_platform} of {all} calls of the last minute failed by fault of the platform.");
        tell(Severity::Warn, "platform_fails", "-", sentence);
    }
    if of_gateway > 0 {
        let sentence =
            format!("{} of the last minute failed by fault of the gateway.", counted(of_gateway, "call", "calls"));
        tell(Severity::Warn, "gateway_fails", "-", sentence);
    }
    for account in &facts.probing {
        let sentence = format!("The breaker of account {account} tries whether the platform answers again.");
        tell(Severity::Warn, "breaker_probing", account, sentence);
    }
    for (receiver, count) in &facts.dead {
        let waits = counted(*count, "dead letter", "dead letters");
        let sentence = format!("{waits} of receiver {receiver}: repair it, then redrive.");
        tell(Severity::Warn, "dead_letters", receiver, sentence);
    }
    for (receiver, seconds) in facts.oldest.iter().filter(|(_, seconds)| *seconds >= LATE_SECONDS) {
        let sentence = format!("A callback waits for receiver {receiver} since {} min.", seconds / 60);
        tell(Severity::Warn, "late", receiver, sentence);
    }
    for (source, count) in &facts.quarantined {
        let kept = counted(*count, "body", "bodies");
        let sentence = format!("{kept} of source {source} could not be opened: compare the keys.");
        tell(Severity::Warn, "quarantined", source, sentence);
    }
    if facts.unsettled > 0 {
        let keys = counted(facts.unsettled, "call with an idempotency key", "calls with idempotency keys");
        let sentence = format!(
            "Of {keys} nobody knows whether the platform carried it out: look there, then settle (airudder-gateway keys)."
        );
        tell(Severity::Warn, "keys_unsettled", "-", sentence);
    }
    if facts.refused_reload {
        let sentence = "The configuration that was read last was refused, and the former one serves on: see the log.";
        tell(Severity::Warn, "reload_refused", "-", sentence.to_owned());
    }
    if facts.refused_upgrades > 0 {
        let sentence = "An upgrade was refused, and this process serves on: see the log.";
        tell(Severity::Warn, "upgrade_refused", "-", sentence.to_owned());
    }
    let (in_use, budget) = facts.memory;
    if budget > 0 && in_use * 100 >= budget * MEMORY_TIGHT {
        let sentence = "The memory for bodies in flight is nearly used up; calls may have to wait for it.".to_owned();
        tell(Severity::Warn, "memory", "-", sentence);
    }
    found
}

fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// The state as a word and a sentence, and the troubles.
pub(super) fn judged(facts: &Facts) -> [(&'static str, Value); 3] {
    let troubles = troubles(facts);
    let bad = troubles.iter().filter(|trouble| trouble.severity == Severity::Bad).count();
    let (state, sentence) = match (troubles.len(), bad) {
        (0, _) if facts.inbound => ("good", "Healthy: calls go out and callbacks are taken.".to_owned()),
        (0, _) => ("good", "Healthy: calls go out.".to_owned()),
        (all, 0) => ("warn", format!("Working; {} to look at.", counted(all as u64, "thing", "things"))),
        (_, bad) => {
            ("bad", format!("Not healthy: {}.", counted(bad as u64, "thing does not work", "things do not work")))
        }
    };
    let shown: Vec<_> = troubles
        .iter()
        .map(|Trouble { severity, word, name, sentence }| {
            json!({"severity": severity.as_str(), "word": word, "name": name, "sentence": sentence})
        })
        .collect();
    [("state", state.into()), ("sentence", sentence.into()), ("troubles", shown.into())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(facts: &Facts) -> (String, String, Vec<String>) {
        let [(_, state), (_, sentence), (_, troubles)] = judged(facts);
        let words = troubles.as_array().expect("a list").iter().map(|trouble| {
            format!("{} {}", trouble["word"].as_str().expect("a word"), trouble["name"].as_str().expect("a name"))
        });
        let text = |value: Value| value.as_str().expect("text").to_owned();
        (text(state), text(sentence), words.collect())
    }

    #[test]
    fn a_gateway_without_troubles_is_healthy() {
        let (state, sentence, troubles) = said(&Facts { inbound: true, memory: (10, 100), ..Facts::default() });
        assert_eq!((state.as_str(), sentence.as_str()), ("good", "Healthy: calls go out and callbacks are taken."));
        assert!(troubles.is_empty());
        assert_eq!(said(&Facts::default()).1, "Healthy: calls go out.");
    }

    #[test]
    fn what_does_not_work_stands_before_what_should_be_looked_at() {
        let name = |name: &str, count| vec![(name.to_owned(), count)];
        let facts = Facts {
            tokenless: vec![("main".to_owned(), "refused")],
            open: vec!["main".to_owned()],
            probing: vec!["other".to_owned()],
            inbox: Some(Unavailable::Full),
            losing: name("calls", 12),
            lost: name("calls", 1),
            quarantined: name("calls", 2),
            dead: name("books", 1),
            oldest: name("books", LATE_SECONDS),
            calls: [80, 0, 1, 20],
            unsettled: 2,
            refused_reload: true,
            refused_upgrades: 1,
            memory: (90, 100),
            inbound: true,
        };
        let (state, sentence, troubles) = said(&facts);
        assert_eq!((state.as_str(), sentence.as_str()), ("bad", "Not healthy: 5 things do not work."));
        assert_eq!(
            troubles,
            [
                "no_token main",
                "breaker_open main",
                "inbox_down -",
                "losing calls",
                "lost calls",
                "platform_fails -",
                "gateway_fails -",
                "breaker_probing other",
                "dead_letters books",
                "late books",
                "quarantined calls",
                "keys_unsettled -",
                "reload_refused -",
                "upgrade_refused -",
                "memory -"
            ]
        );
        let dead = Facts { dead: name("books", 1), ..Facts::default() };
        assert_eq!(said(&dead).1, "Working; 1 thing to look at.");
    }

    #[test]
    fn an_inbox_in_good_hands_is_no_inbox_that_is_down() {
        let (state, _, troubles) = said(&Facts { inbox: Some(Unavailable::Elsewhere), ..Facts::default() });
        assert_eq!((state.as_str(), troubles), ("warn", vec!["upgrading -".to_owned()]));
    }

    #[test]
    fn a_few_failures_of_the_platform_are_nothing_to_look_at() {
        for (calls, troubles) in [([90, 0, 0, 10], 0), ([89, 0, 0, 11], 1), ([0, 0, 0, 9], 0), ([0, 0, 0, 10], 1)] {
            let facts = Facts { calls, oldest: vec![("books".to_owned(), LATE_SECONDS - 1)], ..Facts::default() };
            assert_eq!(said(&facts).2.len(), troubles, "{calls:?}");
        }
    }
}
