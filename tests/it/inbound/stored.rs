//! What is acknowledged is stored: each documented callback, in each form that it may come in.

use airudder_gateway::clock;
use airudder_gateway::inbox::{Filter, Kind, State};

use super::setting::{
    PATH, SAMPLES, Setting, assert_acknowledged, call_back, cipher, ended, kept, platform, schemes, sealed, shown,
    stop_and_ask,
};
use crate::support::Refusing;
use crate::support::gateway::Folder;

#[test]
fn every_documented_callback_is_taken_sealed_and_plain() {
    for (encryption, scheme) in schemes() {
        let gateway = Setting { encryption, ..Setting::default() }.start();
        let (cipher, mut client) = (cipher(&scheme), platform(&gateway));
        for (kind, sample) in SAMPLES {
            assert_acknowledged(&call_back(&mut client, &sealed(&cipher, sample)));
            let line = gateway.log_line(|line| line["target"] == "callback" && line["kind"] == kind);
            assert_eq!((&line["source"], &line["outcome"]), (&"calls".into(), &"stored".into()));
            assert_eq!((&line["sealed"], &line["status"]), (&true.into(), &200.into()));
        }
        // The same again, plain: those with an id of their own are repeats, the agent's state is not.
        for (_, sample) in SAMPLES {
            assert_acknowledged(&call_back(&mut client, &(String::new(), sample.into())));
        }
        assert_eq!((ended(&gateway, "stored"), ended(&gateway, "duplicate")), (5.0, 3.0), "{encryption}");
        assert_eq!(gateway.metric("callback_acknowledge_seconds_count"), 8.0);
    }
}

#[test]
fn what_is_stored_is_the_opened_body_byte_for_byte_and_can_be_found() {
    let folder = Folder::new();
    let gateway = Setting { source: "quarantine = 2".into(), ..Setting::default() }.start_in(&folder);
    let (cipher, mut client) = (cipher(&schemes()[0].1), platform(&gateway));
    let long = format!("{{\"call_id\":\"long\",\"text\":\"{}\"}}", "陈".repeat(300_000));
    for plain in SAMPLES.map(|(_, sample)| sample).into_iter().chain([long.as_str()]) {
        assert_acknowledged(&call_back(&mut client, &sealed(&cipher, plain)));
    }
    let broken = [b"first".to_vec(), b"second".to_vec(), b"third".to_vec()];
    for body in &broken {
        assert_eq!(call_back(&mut client, &("Is-Encrypted: 1\r\n".into(), body.clone())).status, 400);
    }
    gateway.until(|gateway| gateway.metric("inbox_quarantined{source=\"calls\"}") == 2.0);
    stop_and_ask(gateway, &folder, async |inbox| {
        for ((kind, sample), call, task) in [
            (SAMPLES[0], Some("c0ffee5b9e7d4a1fa2b3c4d5e6f70812"), Some("7c1e5b0f4d9a4b6f8e2a9d3c5f6071ab")),
            (SAMPLES[1], Some("c0ffee5b9e7d4a1fa2b3c4d5e6f70902"), Some("7c1e5b0f4d9a4b6f8e2a9d3c5f6071ab")),
            (SAMPLES[2], None, Some("aabbccddeeff00112233445566778899")),
            (SAMPLES[3], Some("c0ffee5b9e7d4a1fa2b3c4d5e6f70999"), None),
            (("call", long.as_str()), Some("long"), None),
        ] {
            let by_call = call.map(|call| Filter { call: Some(call.into()), ..Filter::default() });
            let by_task = task.map(|task| Filter {
                task: Some(task.into()),
                kind: Some(if kind == "calls_unanswered" { Kind::CallsUnanswered } else { Kind::Call }),
                ..Filter::default()
            });
            for filter in by_call.into_iter().chain(by_task.filter(|_| kind.starts_with("call"))) {
                let found = shown(inbox, filter).await;
                assert_eq!(found.len(), 1, "{kind}");
                assert_eq!(found[0].listed.kind.as_str(), kind);
                assert_eq!(found[0].body.as_deref(), Some(sample.as_bytes()), "{kind}");
            }
        }
        let quarantined = shown(inbox, Filter { state: Some(State::Quarantined), ..Filter::default() }).await;
        let bodies: Vec<_> = quarantined.iter().filter_map(|shown| shown.body.as_deref()).collect();
        assert_eq!(bodies, [&broken[1][..], &broken[2]], "the newest are kept");
        assert_eq!(quarantined[0].listed.reason.as_deref(), Some("base64"));
    });
}

#[test]
fn a_callback_that_comes_up_to_six_times_at_once_is_stored_once() {
    let folder = Folder::new();
    let (encryption, scheme) = &schemes()[1];
    let gateway = Setting { encryption, ..Setting::default() }.start_in(&folder);
    let cipher = cipher(scheme);
    for times in 1..=6 {
        let plain = format!("{{\"details\":[{{\"call_id\":\"call-{times}\"}}]}}");
        let together = std::sync::Barrier::new(times);
        std::thread::scope(|scope| {
            for _ in 0..times {
                scope.spawn(|| {
                    let mut client = platform(&gateway);
                    // With an IV of its own, so that no two look alike on the wire.
                    let callback = sealed(&cipher, &plain);
                    together.wait();
                    assert_acknowledged(&call_back(&mut client, &callback));
                });
            }
        });
    }
    assert_eq!((ended(&gateway, "stored"), ended(&gateway, "duplicate")), (6.0, 15.0));
    stop_and_ask(gateway, &folder, async |inbox| {
        for times in 1..=6 {
            let filter = Filter { call: Some(format!("call-{times}")), ..Filter::default() };
            assert_eq!(shown(inbox, filter).await.len(), 1, "sent {times} times");
        }
    });
}

#[test]
fn an_agent_who_is_ready_twice_is_stored_twice() {
    let folder = Folder::new();
    let gateway = Setting::default().start_in(&folder);
    let mut client = platform(&gateway);
    for status in ["READY", "TALKING", "READY"] {
        let state = SAMPLES[3].1.replace("TALKING", status);
        assert_acknowledged(&call_back(&mut client, &(String::new(), state.into_bytes())));
    }
    stop_and_ask(gateway, &folder, async |inbox| {
        let agent = shown(inbox, Filter { kind: Some(Kind::PredictAgent), ..Filter::default() }).await;
        assert_eq!(agent.iter().map(|shown| shown.listed.repeat).collect::<Vec<_>>(), [false, false, true]);
    });
}

#[test]
fn each_receiver_gets_what_it_asks_for() {
    let folder = Folder::new();
    let receiver = |name: &str, when: &str| {
        format!("[[receiver]]\nname = \"{name}\"\nurl = \"{}/hook\"\n{when}\n", Refusing::new().url())
    };
    let more = [
        receiver("all", ""),
        receiver("finished", "when = { pointer = \"/details/0/result\", equals = \"finished\" }"),
        receiver("agents", "when = { pointer = \"/type\", equals = \"AgentStatus\" }"),
    ];
    let source = "receivers = [\"all\", \"finished\", \"agents\"]".into();
    let gateway = Setting { source, more: more.concat(), ..Setting::default() }.start_in(&folder);
    let mut client = platform(&gateway);
    for (_, sample) in SAMPLES {
        assert_acknowledged(&call_back(&mut client, &(String::new(), sample.into())));
    }
    assert_eq!((ended(&gateway, "stored"), ended(&gateway, "untaken")), (4.0, 0.0));
    stop_and_ask(gateway, &folder, async |inbox| {
        let takers: Vec<(&str, Vec<String>)> = shown(inbox, Filter::default())
            .await
            .into_iter()
            .map(|shown| {
                let deliveries = shown.listed.deliveries.into_iter();
                (shown.listed.kind.as_str(), deliveries.map(|delivery| delivery.receiver).collect())
            })
            .collect();
        let expected: [(&str, &[&str]); 4] = [
            ("call", &["all", "finished"]),
            ("calls_unanswered", &["all"]),
            ("waba", &["all"]),
            ("predict.agent", &["all", "agents"]),
        ];
        for (kind, receivers) in expected {
            let (_, found) = takers.iter().find(|(found, _)| *found == kind).expect("it is there");
            let mut found = found.clone();
            found.sort();
            let mut receivers = receivers.to_vec();
            receivers.sort();
            assert_eq!(found, receivers, "{kind}");
        }
    });
}

#[test]
fn a_callback_that_no_receiver_takes_is_kept_and_counted_as_untaken() {
    let folder = Folder::new();
    let more = format!(
        "[[receiver]]\nname = \"agents\"\nurl = \"{}/hook\"\nwhen = {{ pointer = \"/type\", equals = \"AgentStatus\" }}\n",
        Refusing::new().url()
    );
    let gateway = Setting { source: "receivers = [\"agents\"]".into(), more, ..Setting::default() }.start_in(&folder);
    assert_acknowledged(&platform(&gateway).post(PATH, SAMPLES[0].1));
    assert_eq!((ended(&gateway, "stored"), ended(&gateway, "untaken")), (0.0, 1.0));
    stop_and_ask(gateway, &folder, async |inbox| {
        assert_eq!(shown(inbox, Filter::default()).await.len(), 1);
    });
}

#[test]
fn a_callback_in_flight_is_taken_while_the_gateway_stops() {
    let folder = Folder::new();
    let gateway = Setting::default().start_in(&folder);
    let (mut flies, mut idle) = (platform(&gateway), platform(&gateway));
    assert_acknowledged(&idle.post(PATH, "{}"));
    flies.send(format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 18\r\n\r\n{{\"call_id\":"));
    // Its header has been read when its memory is reserved.
    gateway.until(|gateway| gateway.metric("memory_in_use_bytes") > 0.0);
    gateway.terminate();
    assert!(idle.is_closed(), "the drain has begun");
    let answer = flies.send("\"last\"}").answer();
    assert_acknowledged(&answer);
    assert_eq!(answer.header("connection"), Some("close"));
    let mut gateway = gateway;
    assert!(gateway.wait().success());
    kept(&folder, async |inbox| {
        assert_eq!(shown(inbox, Filter { call: Some("last".into()), ..Filter::default() }).await.len(), 1);
    });
}

#[test]
fn the_metrics_say_when_the_last_callback_was_taken_and_how_much_room_its_disk_has() {
    let gateway = Setting::default().start();
    let last = "callback_last_accepted_timestamp_seconds{source=\"calls\"}";
    assert_eq!(gateway.metric(last), 0.0, "none since the start");
    assert_eq!(platform(&gateway).post("/unknown", "{}").status, 404);
    assert_eq!(call_back(&mut platform(&gateway), &("Is-Encrypted: 1\r\n".into(), b"x".to_vec())).status, 400);
    assert_eq!(gateway.metric(last), 0.0, "what was refused was not taken");
    let before = (clock::wall_millis() / 1000) as f64;
    assert_acknowledged(&platform(&gateway).post(PATH, "{}"));
    // Counted before the answer leaves.
    let taken = gateway.metric(last);
    assert!(taken >= before && taken <= (clock::wall_millis() / 1000) as f64, "{taken}");
    gateway.until(|gateway| gateway.metric("inbox_disk_size_bytes") > 0.0);
    let page = gateway.metrics();
    let (available, size) = (page.value("inbox_disk_available_bytes"), page.value("inbox_disk_size_bytes"));
    assert!(available > 0.0 && available <= size, "{available} of {size}");
}
