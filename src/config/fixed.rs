//! What cannot change while the gateway runs, because it was bound, started, reserved or opened with it.
//!
//! Each key is decided here: a new one does not compile until it stands among those that change or among those that do
//! not. It compares, and shows no value.

use super::{Admin, Config, Inbound, Inbox, Log, Outbound, Threads};

impl Config {
    /// The keys that `next` changes and that need a restart, as they are written in the file: `outbound.listen`.
    pub fn fixed_in(&self, next: &Self) -> Vec<&'static str> {
        let mut keys = Keys(Vec::new());
        let Outbound {
            listen,
            threads,
            memory,
            max_connections,
            header_timeout: _,
            body_timeout: _,
            keepalive_timeout: _,
            max_header: _,
            max_body: _,
            max_answer: _,
            memory_wait: _,
            repair_plus: _,
            tokens: _,
            grace: _,
        } = &self.outbound;
        keys.compare("outbound.listen", listen, &next.outbound.listen);
        keys.threads("outbound.threads", threads, &next.outbound.threads);
        keys.compare("outbound.memory", memory, &next.outbound.memory);
        keys.compare("outbound.max_connections", max_connections, &next.outbound.max_connections);
        let Admin { listen, token: _ } = &self.admin;
        keys.compare("admin.listen", listen, &next.admin.listen);
        let Log { traces, format: _ } = &self.log;
        keys.compare("log.traces", traces, &next.log.traces);
        match (&self.inbound, &next.inbound) {
            (Some(now), Some(next)) => keys.inbound(now, next),
            (now, next) => keys.compare("[inbound]", &now.is_some(), &next.is_some()),
        }
        match (&self.inbox, &next.inbox) {
            (Some(now), Some(next)) => keys.inbox(now, next),
            (now, next) => keys.compare("[inbox]", &now.is_some(), &next.is_some()),
        }
        keys.0
    }
}

struct Keys(Vec<&'static str>);

impl Keys {
    fn compare<T: PartialEq>(&mut self, key: &'static str, now: &T, next: &T) {
        if now != next {
            self.0.push(key);
        }
    }

    /// As many cores as there are is the same wish, however many there are by now.
    fn threads(&mut self, key: &'static str, now: &Threads, next: &Threads) {
        if !(matches!((now, next), (Threads::Cores(_), Threads::Cores(_))) || now.number() == next.number()) {
            self.0.push(key);
        }
    }

    fn inbound(&mut self, now: &Inbound, next: &Inbound) {
        let Inbound {
            listen,
            threads,
            tls,
            memory,
            max_connections,
            max_connections_per_address,
            trusted_proxies,
            header_timeout: _,
            body_timeout: _,
            keepalive_timeout: _,
            max_header: _,
            max_body: _,
        } = now;
        self.compare("inbound.listen", listen, &next.listen);
        self.threads("inbound.threads", threads, &next.threads);
        self.compare("inbound.memory", memory, &next.memory);
        self.compare("inbound.max_connections", max_connections, &next.max_connections);
        let per_address = &next.max_connections_per_address;
        self.compare("inbound.max_connections_per_address", max_connections_per_address, per_address);
        self.compare("inbound.trusted_proxies", trusted_proxies, &next.trusted_proxies);
        // Another certificate is shown from the next connection on; whether there is one at all is the listener's.
        self.compare("inbound.tls", &tls.is_some(), &next.tls.is_some());
    }

    fn inbox(&mut self, now: &Inbox, next: &Inbox) {
        let Inbox { path, retain, keep_answers, max_bytes, ledger, ledger_max_bytes, key, old_keys } = now;
        self.compare("inbox.path", path, &next.path);
        self.compare("inbox.retain", retain, &next.retain);
        self.compare("inbox.keep_answers", keep_answers, &next.keep_answers);
        self.compare("inbox.max_bytes", max_bytes, &next.max_bytes);
        self.compare("inbox.ledger", ledger, &next.ledger);
        self.compare("inbox.ledger_max_bytes", ledger_max_bytes, &next.ledger_max_bytes);
        self.compare("inbox.key", key, &next.key);
        self.compare("inbox.old_keys", old_keys, &next.old_keys);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const OUTBOUND: &str = "listen = \"127.0.0.1:1\"\nthreads = 1\nmax_connections = 100\n";
    const CALLBACKS: &str = "[inbound]\nlisten = \"127.0.0.1:2\"\nthreads = 1\n[inbox]\n\
                             [[source]]\nname = \"a\"\npath = \"/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05\"\n";

    fn config(outbound: &str, more: &str) -> Config {
        let text = format!(
            "[outbound]\n{outbound}[[account]]\nname = \"main\"\napp_key = {{ env = \"X\" }}\n\
             app_secret = {{ env = \"X\" }}\nencryption = \"off\"\n{more}"
        );
        let env = |name: &str| Some(format!("{}-{}", "x".repeat(32), name).into());
        Config::parse(&text, Path::new("."), env).expect("a configuration")
    }

    #[test]
    fn what_was_bound_started_reserved_or_opened_is_named() {
        let now = config(OUTBOUND, CALLBACKS);
        let changed = |from: &str, to: &str| {
            assert!(format!("{OUTBOUND}{CALLBACKS}").contains(from), "{from}");
            now.fixed_in(&config(&OUTBOUND.replace(from, to), &CALLBACKS.replace(from, to)))
        };
        assert_eq!(changed("[inbox]\n", "[inbox]\n"), [""; 0]);
        for (from, to, keys) in [
            ("127.0.0.1:1", "127.0.0.1:3", &["outbound.listen"][..]),
            ("127.0.0.1:2", "127.0.0.1:3", &["inbound.listen"]),
            ("threads = 1", "threads = 2", &["outbound.threads", "inbound.threads"]),
            ("max_connections = 100", "max_connections = 101", &["outbound.max_connections"]),
            ("max_connections = 100", "max_connections = 100\nmemory = \"500MiB\"", &["outbound.memory"]),
            ("[inbox]", "memory = \"500MiB\"\n[inbox]", &["inbound.memory"]),
            ("[inbox]", "max_connections = 1000\n[inbox]", &["inbound.max_connections"]),
            ("[inbox]", "max_connections_per_address = 1\n[inbox]", &["inbound.max_connections_per_address"]),
            ("[inbox]", "trusted_proxies = [\"10.0.0.0/8\"]\n[inbox]", &["inbound.trusted_proxies"]),
            ("[inbox]", "[log]\ntraces = \"http://127.0.0.1:4318/v1/traces\"\n[inbox]", &["log.traces"]),
            ("[inbox]", "[admin]\nlisten = \"127.0.0.1:3\"\n[inbox]", &["admin.listen"]),
            // Its key lies beside it.
            ("[inbox]", "[inbox]\npath = \"other.db\"", &["inbox.path", "inbox.key"]),
            ("[inbox]", "[inbox]\nretain = \"2d\"", &["inbox.retain"]),
            ("[inbox]", "[inbox]\nkeep_answers = \"2d\"", &["inbox.keep_answers"]),
            // A part of it is the ledger's.
            ("[inbox]", "[inbox]\nmax_bytes = \"1GiB\"", &["inbox.max_bytes", "inbox.ledger_max_bytes"]),
            ("[inbox]", "[inbox]\nledger = \"2d\"", &["inbox.ledger"]),
            ("[inbox]", "[inbox]\nledger_max_bytes = \"2MiB\"", &["inbox.ledger_max_bytes"]),
            ("[inbox]", "[inbox]\nkey = { env = \"X\" }", &["inbox.key"]),
            ("[inbox]", "[inbox]\nold_keys = [{ env = \"X\" }]", &["inbox.old_keys"]),
        ] {
            assert_eq!(changed(from, to), keys, "{from} {to}");
        }
        assert_eq!(now.fixed_in(&config(OUTBOUND, "")), ["[inbound]", "[inbox]"]);
    }

    #[test]
    fn as_many_threads_as_cores_stay_the_same_when_the_cores_change() {
        let with = |threads| {
            let mut config = config(OUTBOUND, CALLBACKS);
            config.outbound.threads = threads;
            config.inbound.as_mut().expect("it is there").threads = threads;
            config
        };
        let both = ["outbound.threads", "inbound.threads"];
        for (now, next, keys) in [
            (Threads::Cores(4), Threads::Cores(2), &[][..]),
            (Threads::Cores(4), Threads::Given(4), &[]),
            (Threads::Given(4), Threads::Cores(4), &[]),
            (Threads::Given(4), Threads::Cores(2), &both),
            (Threads::Given(4), Threads::Given(2), &both),
        ] {
            assert_eq!(with(now).fixed_in(&with(next)), keys, "{now:?} {next:?}");
        }
        let absent = config(&OUTBOUND.replace("threads = 1\n", ""), "").outbound.threads;
        assert!(matches!(absent, Threads::Cores(cores) if cores > 0), "{absent:?}");
    }

    #[test]
    fn the_page_marks_what_needs_a_restart_and_nothing_else() {
        let page = include_str!("../../docs/configuration.md");
        let (mut section, mut marked) = ("", Vec::new());
        for line in page.lines() {
            section = line.strip_prefix("## [").map_or(section, |title| title.trim_end_matches(']'));
            if line.ends_with(" **(restart)** |") {
                marked.push(format!("{section}.{}", line.split('`').nth(1).expect("a key")));
            }
        }
        // What the functions above name; a file of a key is the key, and whether there is TLS is no key.
        let source = include_str!("fixed.rs");
        let (code, _) = source.split_once("mod tests {").expect("the tests stand last");
        let named = code.split('"').skip(1).step_by(2).filter(|text| text.contains('.') && *text != "inbound.tls");
        let mut named: Vec<_> = named.map(str::to_owned).chain(["inbox.key_file".to_owned()]).collect();
        named.sort();
        marked.sort();
        assert_eq!(marked, named);
    }

    #[test]
    fn what_a_call_is_judged_by_may_change() {
        let now = config(OUTBOUND, CALLBACKS);
        let next = config(
            &format!(
                "{OUTBOUND}header_timeout = \"1s\"\nbody_timeout = \"1s\"\nkeepalive_timeout = \"1s\"\n\
                 max_header = \"8KiB\"\nmax_body = \"1MiB\"\nmax_answer = \"1MiB\"\nmemory_wait = \"1s\"\n\
                 repair_plus = false\ntoken_key = {{ env = \"Y\" }}\ntoken_life = \"1h\"\ngrace = \"1s\"\n"
            ),
            &format!(
                "[admin]\ntoken = {{ env = \"Y\" }}\n[log]\nformat = \"human\"\n[[program]]\nname = \"a\"\n\
                 api_key = {{ env = \"Y\" }}\n[[operation]]\nname = \"task.create\"\nencryption = \"off\"\n\
                 [[receiver]]\nname = \"books\"\nurl = \"http://127.0.0.1:9\"\n{}receivers = [\"books\"]\n",
                CALLBACKS.replace("threads = 1", "threads = 1\nbody_timeout = \"1s\"\nmax_body = \"1MiB\"")
            ),
        );
        assert_eq!(now.fixed_in(&next), [""; 0]);
    }
}
