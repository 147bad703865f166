//! No key, number, id or path of a callback is in what the gateway prints or shows, whatever becomes of it.

use super::setting::{PATH, SAMPLES, Setting, call_back, cipher, platform, schemes, sealed};
use crate::support::{Client, KEY, Setup};

#[test]
fn callbacks_leave_no_trace_in_logs_and_metrics() {
    for format in ["json", "human"] {
        let setting = Setting {
            source: "quarantine = 3".into(),
            inbound: "max_body = \"64KiB\"\nmemory = \"1MiB\"\nbody_timeout = \"200ms\"\n\
                      trusted_proxies = [\"127.0.0.1\"]"
                .into(),
            more: format!("[log]\nformat = \"{format}\"\n"),
            ..Setting::default()
        };
        let mut gateway = Setup { ..setting.setup() }.start_at(&crate::support::Refusing::new().url(), None);
        let cipher = cipher(&schemes()[0].1);
        let mut marks: Vec<String> =
            [KEY, PATH, "203.0.113.77", "c0ffee", "62812", "agent-7", "SITI", "7c1e5b0f", "msg_id"]
                .map(str::to_owned)
                .to_vec();
        let mut answers = Vec::new();
        for (_, sample) in SAMPLES {
            let (headers, body) = sealed(&cipher, sample);
            marks.push(headers[headers.len() - 66..headers.len() - 2].to_owned());
            marks.push(String::from_utf8_lossy(&body[..32]).into_owned());
            let headers = headers + "X-Forwarded-For: 203.0.113.77\r\n";
            answers.push(call_back(&mut platform(&gateway), &(headers.clone(), body.clone())));
            // Repeated, altered, plain, unsigned, cut, too long, and where nothing is.
            answers.push(call_back(&mut platform(&gateway), &(headers.clone(), body.clone())));
            answers.push(call_back(&mut platform(&gateway), &(headers.clone(), body[1..].to_vec())));
            answers.push(call_back(&mut platform(&gateway), &(headers.clone(), sample.into())));
            answers.push(call_back(&mut platform(&gateway), &("Is-Encrypted: 1\r\n".into(), body.clone())));
            answers.push(call_back(&mut platform(&gateway), &(headers.clone(), body.repeat(60))));
            answers.push(platform(&gateway).post_with(
                &format!("{PATH}/{}", &sample[20..40].replace(['"', ' ', '\n'], "")),
                &headers,
                &body,
            ));
            let mut cut = platform(&gateway);
            cut.send(format!("POST {PATH} HTTP/1.1\r\nHost: g\r\nContent-Length: 9999\r\n\r\n{sample}"));
            answers.push(cut.answer());
            answers.push(platform(&gateway).send(format!("{sample}\r\n\r\n")).answer());
        }
        let statuses: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [200, 400, 404, 408, 413]);
        let mut page = gateway.admin_page("/metrics").1;
        // As an operator on this machine. What he asks for is not shown to him again.
        for path in [
            "/",
            "/status.json",
            "/inbox",
            "/call",
            "/call.json?id=c0ffee5b9e7d4a1fa2b3c4d5e6f70812",
            "/call.json?id=+6281200000001",
        ] {
            let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = Client::connect(gateway.admin).send(asked).answer();
            assert_eq!(answer.status, 200, "{path}");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!path.ends_with("0812") || text.contains("number ending in 01"), "it is found: {text}");
            page += &text;
        }
        gateway.terminate();
        assert!(gateway.wait().success());
        let printed = gateway.printed_whole();
        assert!(
            printed.matches("callback").count() >= answers.len() - 2 * SAMPLES.len(),
            "there was something to search"
        );
        let written: String = answers.iter().map(|answer| format!("{:?}{:?}", answer.headers, answer.body)).collect();
        for text in [&page, &printed, &written] {
            for mark in &marks {
                assert!(!text.contains(mark.as_str()), "{mark} in {text}");
            }
        }
    }
}
