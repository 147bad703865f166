//! Certificates and their keys, ours and a receiver's: both files are read, and fit, before anything starts.

use std::fs;

use airudder_gateway::config::Config;

use super::callbacks::good;
use super::{dir, env, write};

#[test]
fn a_certificate_and_its_key_are_read_before_anything_starts() {
    let dir = dir("identity");
    let pair = || rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).expect("a certificate");
    let (own, other) = (pair(), pair());
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, mode, content) in [
        ("cert", 0o644, own.cert.pem()),
        ("chain", 0o644, own.cert.pem() + &other.cert.pem()),
        ("half", 0o644, own.cert.pem() + damaged),
        ("both", 0o600, own.signing_key.serialize_pem() + &own.cert.pem()),
        ("key", 0o600, own.signing_key.serialize_pem()),
        ("open-key", 0o644, own.signing_key.serialize_pem()),
        ("other-key", 0o600, other.signing_key.serialize_pem()),
        ("broken-key", 0o600, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned()),
    ] {
        write(&dir, name, mode, content);
    }
    let tls = |line: &str| {
        let text = good("").replace("[inbound]\n", &format!("[inbound]\nlisten = \"0.0.0.0:1\"\ntls = {line}\n"));
        Config::parse(&text, &dir, env).map_err(|error| error.to_string())
    };
    let of = |cert: &str, key: &str| tls(&format!("{{ cert = \"{cert}\", key = \"{key}\" }}"));
    for (cert, key) in [("cert", "key"), ("chain", "key"), ("both", "both")] {
        let config = of(cert, key).expect(cert);
        assert_eq!(config.warnings, [""; 0], "{cert}");
        let identity = config.inbound.and_then(|inbound| inbound.tls).expect("an identity");
        let pair = identity.read().expect("it can be read again");
        assert_eq!(pair.chain.len(), if cert == "chain" { 2 } else { 1 });
    }
    let open =
        "line 9: key names a file that other users may open (mode 0644); make it the gateway's own with chmod 600";
    assert_eq!(of("cert", "open-key").expect("a warning").warnings, [open]);
    let refused = |found: Result<Config, String>, sentence: &str| {
        assert_eq!(found.map(|_| ()).expect_err(sentence), format!("line 9: {sentence}"));
    };
    let named = |name: &str| format!("{:?}", dir.join(name));
    refused(tls("{ cert = \"cert\" }"), "tls has no key; write { cert = \"FILE\", key = \"FILE\" }");
    refused(tls("{ key = \"key\" }"), "tls has no cert; write { cert = \"FILE\", key = \"FILE\" }");
    let missing = "there is no such file; create it or correct the path";
    refused(of("none", "key"), &format!("cert cannot be read from {}: {missing}", named("none")));
    refused(of("cert", "none"), &format!("key cannot be read from {}: {missing}", named("none")));
    refused(
        of("key", "key"),
        &format!("cert names {}, which holds no certificate; name a PEM file with BEGIN CERTIFICATE", named("key")),
    );
    refused(
        of("half", "key"),
        &format!("cert names {}, where a certificate is damaged; write the chain's PEM file anew", named("half")),
    );
    for bad in ["cert", "broken-key"] {
        refused(
            of("cert", bad),
            &format!(
                "key names {}, which holds no usable private key; name a PEM file with BEGIN PRIVATE KEY, without a \
                 passphrase",
                named(bad)
            ),
        );
    }
    refused(
        of("cert", "other-key"),
        &format!(
            "key names {}, which is not the key of the first certificate in {}; name a pair",
            named("other-key"),
            named("cert")
        ),
    );
    // A receiver's identity is read in the same way, and what became of it later is found by reading it again.
    let line = "identity = { cert = \"cert\", key = \"key\" }\nca = \"cert\"\n";
    let text = good(line).replace("http://books", "https://books");
    let config = Config::parse(&text, &dir, env).expect("a configuration");
    let identity = config.receivers[0].identity.clone().expect("an identity");
    fs::copy(dir.join("other-key"), dir.join("key")).expect("another key");
    let error = identity.read().map(|_| ()).expect_err("no pair any more").to_string();
    assert!(error.starts_with(&format!("key names {}, which is not the key", named("key"))), "{error}");
    write(&dir, "key", 0o600, own.signing_key.serialize_pem());
    let plain = Config::parse(&good(line), &dir, env).expect("a configuration");
    assert_eq!(
        plain.warnings,
        [
            "line 16: ca has no effect on an http:// url; remove it",
            "line 15: identity has no effect on an http:// url; remove it"
        ]
    );
}
