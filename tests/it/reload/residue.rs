//! What two hundred configurations leave behind: nothing.

use airudder_gateway::clock;

use super::{call, program, setup, start};
use crate::support::{Client, Gateway, PATIENCE, Setup, platform};

const PATH: &str = "/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05";

/// Every name is another one in each.
fn written(round: usize, upstream: &str) -> Setup {
    let account = format!(
        "[[account]]\nname = \"account-{round}\"\nupstream = \"{upstream}\"\napp_key = {{ env = \"APP_KEY\" }}\n\
         app_secret = {{ env = \"APP_SECRET\" }}\nencryption = \"off\"\nlimit = {{ rate = \"1000/s\" }}\n"
    );
    let operation =
        format!("[[operation]]\nname = \"own.operation_{round}\"\nmethod = \"GET\"\npath = \"/service/own\"\n");
    let callbacks = format!(
        "[inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 1\n[inbox]\n\
         [[source]]\nname = \"source-{round}\"\npath = \"{PATH}\"\nreceivers = [\"receiver-{round}\"]\n\
         [[receiver]]\nname = \"receiver-{round}\"\nurl = \"http://127.0.0.1:9/\"\n"
    );
    let named = program(&format!("program-{round}"), "KEY_A", &format!("account = \"account-{round}\""));
    setup(&format!("{account}{named}{operation}{callbacks}"))
}

/// What is shown.
fn series(gateway: &Gateway) -> Vec<String> {
    let metrics = gateway.metrics();
    metrics.series().into_iter().map(str::to_owned).collect()
}

#[test]
fn two_hundred_configurations_leave_no_series_no_memory_no_thread_and_no_file_behind() {
    let platform = platform();
    let gateway = start(&written(0, &platform.url()), &platform);
    let used = |gateway: &Gateway| {
        let mut client = gateway.client();
        assert_eq!(call(&mut client, "X-Gateway-Key: key-a\r\n").status, 200);
        let callback = r#"{"task_id":"task","details":[]} "#;
        // It cannot be opened, so it is counted under its source and waits for nobody.
        let answer =
            Client::connect(gateway.inbound.expect("callbacks")).post_with(PATH, "Is-Encrypted: 1\r\n", callback);
        assert_eq!(answer.status, 400);
    };
    let of_others = |gateway: &Gateway, round: usize| {
        let of_another = |series: &String| {
            ["account", "program", "source", "receiver"].iter().any(|kind| {
                let (own, other) = (format!("\"{kind}-{round}\""), format!("=\"{kind}-"));
                series.contains(&other) && !series.contains(&own) && !series.contains("inbox_quarantined")
            })
        };
        series(gateway).into_iter().filter(of_another).collect::<Vec<_>>()
    };
    // What a former configuration counted goes within a second of its last call.
    let shows_only = |gateway: &Gateway, round: usize| {
        let end = clock::now() + PATIENCE;
        while !of_others(gateway, round).is_empty() {
            assert!(clock::now() < end, "{:?}", of_others(gateway, round));
            std::thread::yield_now();
        }
    };
    let measured = |gateway: &Gateway| {
        let metrics = gateway.metrics();
        ["process_resident_memory_bytes", "process_threads", "process_open_fds"].map(|name| metrics.samples[name])
    };
    let mut early = None;
    // The allocator gives memory back in steps of several MB, so one moment says little: the most of
    // forty early rounds stands beside the least of the last forty.
    let (mut most_then, mut least_now) = (0.0_f64, f64::INFINITY);
    for round in 1..=200 {
        gateway.reload_as(&written(round, &platform.url()), &platform.url());
        used(&gateway);
        let [memory, ..] = measured(&gateway);
        match round {
            41..=80 => most_then = most_then.max(memory),
            161.. => least_now = least_now.min(memory),
            _ => {}
        }
        if round == 40 {
            shows_only(&gateway, 40);
            early = Some((series(&gateway).len(), measured(&gateway)));
        }
    }
    shows_only(&gateway, 200);
    let (number, [_, threads, files]) = early.expect("it was measured");
    let [_, threads_now, files_now] = measured(&gateway);
    println!("{:.1} MB then, {:.1} MB now; {threads} threads, {files} files", most_then / 1e6, least_now / 1e6);
    // The inbox still shows the sources whose bodies it keeps.
    let quarantined = series(&gateway).iter().filter(|series| series.contains("inbox_quarantined")).count();
    assert!(series(&gateway).len() - quarantined <= number, "{:?}", series(&gateway));
    assert!(least_now < most_then + 4e6, "{most_then} bytes after 41 to 80, {least_now} after 161 to 200");
    assert!(threads_now <= threads + 2.0 && files_now <= files + 4.0, "{threads_now} {files_now}");
}
