//! What is acknowledged is stored: each documented callback, in each form that it may come in.

use super::setting::{SAMPLES, Setting, assert_acknowledged, call_back, cipher, ended, platform, schemes, sealed};

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
