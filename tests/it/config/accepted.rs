//! What is accepted, what of it is warned of, and where files are looked for.

use std::fs;

use airudder_gateway::config::{Authorities, Config, Iv, Scheme};

use super::{ACCOUNT, dir, env, parse, write};

#[test]
fn what_is_written_is_what_is_used() {
    let config = parse(&format!(
        "{ACCOUNT}{}",
        r#"
        upstream = "http://localhost:9000"
        encryption = { scheme = "aes-cbc-pkcs7", key = { env = "AES_KEY_32" }, iv = { fixed = { env = "AES_KEY" } } }
        login = { burst = 7 }
        [outbound]
        listen = "127.0.0.1:0"
        memory_wait = "0s"
        repair_plus = false
        threads = 3
        [[account]]
        name = "b"
        app_key = { env = "KEY_A" }
        app_secret = { env = "KEY_B" }
        encryption = { scheme = "aes-ecb-zero", key = { env = "AES_KEY_24" } }
        [[program]]
        name = "p"
        account = "b"
        api_key = { env = "KEY_A" }
        [[operation]]
        name = "x.y_2"
        method = "PUT"
        path = "/x"
        encryption = "on"
        headers = { tenantId = { env = "KEY_A" }, token = { env = "KEY_B" } }
        "#
    ))
    .expect("a configuration");
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!((config.outbound.threads.number(), config.outbound.repair_plus), (3, false));
    assert!(config.outbound.memory_wait.is_zero());
    let first = config.accounts[0].encryption.as_ref().expect("encryption");
    assert_eq!(first.scheme, Scheme::CbcPkcs7(Iv::Fixed(*b"canary0123456789")));
    assert_eq!((first.key.len(), config.accounts[0].token.burst), (32, 7));
    assert_eq!(config.programs[0].account, Some(1));
    let operation = &config.operations[0];
    assert_eq!(operation.route, Some((http::Method::PUT, "/x".to_owned())));
    let headers: Vec<_> = operation.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("tenantid", &b"canary-a"[..]), ("token", b"canary-b")]);
    let printed = format!("{config:?} {config:#?}");
    assert!(!printed.contains("canary") && !printed.contains("99, 97, 110, 97, 114, 121"), "{printed}");
}

#[test]
fn legal_but_unwise_values_are_warnings() {
    let warned = |text: &str, sentence: &str| {
        let config = parse(text).expect(text);
        assert!(config.warnings.iter().any(|warning| warning == sentence), "{:#?}", config.warnings);
    };
    let in_account = |line: &str| format!("{ACCOUNT}{line}\n[outbound]\n");
    let unsealed = "account \"main\" sends its calls unsealed; set encryption if the platform gave you an AES key";
    warned(&in_account(""), &format!("line 1: {unsealed}"));
    warned(&in_account("encryption = \"off\""), &format!("line 5: {unsealed}"));
    warned(
        &in_account("read_timeout = \"119s\""),
        "line 5: read_timeout is under 120 s; slow answers are normal here, and a POST cut short has no known outcome",
    );
    warned(
        &in_account("login = { every = \"999ms\" }"),
        "line 5: every is under 1 s; a platform that refuses logins would be stormed, so write 1s or more",
    );
    warned(
        &in_account("token_life = \"25h\""),
        "line 5: token_life is above the 24h that the platform documents; calls would meet a dead token, so lower it",
    );
    let open = format!("[outbound]\nlisten = \"0.0.0.0:8080\"\n{ACCOUNT}");
    warned(
        &open,
        "line 2: listen 0.0.0.0:8080 lets whoever reaches it make calls, because there is no [[program]]; \
         add one or listen on 127.0.0.1",
    );
    let named = format!("{open}[[program]]\nname = \"p\"\napi_key = {{ env = \"KEY_A\" }}\n");
    assert_eq!(parse(&named).expect("a program").warnings.len(), 1, "only the missing encryption is left");
    warned(
        &format!("{ACCOUNT}[outbound]\n[admin]\nlisten = \"[::]:9464\""),
        "line 7: listen [::]:9464 shows metrics to other machines; keep it inside your network or listen on 127.0.0.1",
    );
    warned(
        &format!("{ACCOUNT}[outbound]\n[[operation]]\nname = \"task.list\""),
        "line 6: operation \"task.list\" changes nothing; give it encryption, headers, limit, idempotency or a route, or remove it",
    );
    let dir = dir("warned");
    write(&dir, "ca.pem", 0o644, authority());
    let plain = in_account("upstream = \"http://127.0.0.1:1\"\nca = \"ca.pem\"");
    let warnings = Config::parse(&plain, &dir, env).expect("loopback").warnings;
    assert_eq!(warnings[0], "line 6: ca has no effect on an http:// upstream; remove it");
}

#[test]
fn files_are_looked_for_where_the_configuration_stands() {
    let dir = dir("files");
    for (name, mode, content) in [
        ("key", 0o600, "canary0123456789\n"),
        ("crlf", 0o600, "canary0123456789\r\n"),
        ("two-breaks", 0o600, "canary0123456789\n\n"),
        ("open", 0o640, "canary0123456789"),
        ("large", 0o600, &"x".repeat(100_000)),
        ("no-certificate.pem", 0o644, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("damaged.pem", 0o644, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("ca.pem", 0o644, &authority()),
    ] {
        write(&dir, name, mode, content);
    }
    let parse = |line: &str| Config::parse(&format!("{ACCOUNT}{line}\n[outbound]\n"), &dir, env);
    let key = |name: &str| format!("encryption = {{ scheme = \"aes-ecb-zero\", key = {{ file = \"{name}\" }} }}");
    for good in ["key", "crlf", "open", dir.join("key").to_str().expect("a path")] {
        let config = parse(&key(good)).expect(good);
        assert_eq!(config.accounts[0].encryption.as_ref().expect("encryption").key.expose(), b"canary0123456789");
        let others = "line 5: key names a file that other users may open (mode 0640); make it the gateway's own \
                      with chmod 600";
        assert_eq!(config.warnings, if good == "open" { vec![others] } else { vec![] }, "{good}");
    }
    // Where systemd says that it put them, they are for the service alone.
    for (folder, warnings) in [(dir.clone(), 0), (dir.join("other"), 1)] {
        let env = |name: &str| if name == "CREDENTIALS_DIRECTORY" { Some(folder.clone().into()) } else { env(name) };
        let config = Config::parse(&format!("{ACCOUNT}{}\n[outbound]\n", key("open")), &dir, env).expect("accepted");
        assert_eq!(config.warnings.len(), warnings, "{folder:?}");
    }
    let trusted = parse("ca = \"ca.pem\"").expect("a certificate").accounts[0].ca.clone();
    assert_eq!(trusted.as_ref().map(Authorities::path), Some(&*dir.join("ca.pem")));
    let refused = |line: &str, sentence: &str| {
        let error = parse(line).map(|_| ()).expect_err(line).to_string();
        assert!(error.starts_with(&format!("line 5: {sentence}")), "{error}");
    };
    refused(&key("two-breaks"), "key has 17 bytes, but an AES key has 16, 24 or 32;");
    refused(&key("large"), "key names a file that cannot be read: it is far too large; correct the path");
    refused(&key("."), "key names a file that cannot be read: it is a directory; name a file in it");
    let named = |name: &str| dir.join(name);
    refused(
        "ca = \"no-certificate.pem\"",
        &format!("ca names {:?}, which holds no certificate; name a PEM file", named("no-certificate.pem")),
    );
    refused(
        "ca = \"damaged.pem\"",
        &format!("ca names {:?}, where a certificate is damaged; write the", named("damaged.pem")),
    );
}

#[test]
fn a_file_is_named_in_its_refusal_and_in_its_warnings() {
    let dir = dir("load");
    let path = dir.join("gateway.toml");
    let load = |content: &[u8]| {
        fs::write(&path, content).expect("a file");
        Config::load(&path).map_err(|error| error.to_string())
    };
    let error = load(b"[outbound]\nx = 1").expect_err("an unknown key");
    assert!(error.starts_with(&format!("{}:2: unknown key \"x\"", path.display())), "{error}");
    let error = load(b"\xff").expect_err("not text");
    let expected = "the configuration cannot be read: it is not UTF-8 text; save it as UTF-8";
    assert_eq!(error, format!("{}: {expected}", path.display()));
    let error = Config::load(std::path::Path::new("/dev/zero")).expect_err("endless").to_string();
    assert_eq!(error, "/dev/zero: the configuration cannot be read: it is far too large; correct the path");
    write(&dir, "secret", 0o600, "canary");
    let text = format!("{ACCOUNT}[outbound]\n").replace("env = \"APP_KEY", "file = \"secret");
    let config = load(text.replace("env = \"APP_SECRET", "file = \"secret").as_bytes()).expect("a configuration");
    assert!(config.warnings[0].starts_with(&format!("{}:1: account \"main\" sends", path.display())), "{config:?}");
    assert_eq!(config.accounts[0].app_key.expose(), b"canary");
}

/// A byte order mark and CRLF come from editors; neither moves a line number.
#[test]
fn a_file_from_another_system_is_read() {
    let text = format!("\u{feff}[outbound]\n{ACCOUNT}").replace('\n', "\r\n");
    assert!(parse(&text).is_ok());
    let error = parse(&(text + "zzz = 1\r\n")).expect_err("an unknown key");
    assert_eq!(error.line(), Some(6));
}

/// A certificate that is its own authority, as PEM.
fn authority() -> String {
    rcgen::generate_simple_self_signed(["platform.test".to_owned()]).expect("a certificate").cert.pem()
}
