//! docs/callbacks.md: its samples know a genuine delivery from any other, and its commands and words are those there are.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::{Map, Value};

use super::{PATH, call_back, setup};
use crate::support::receiver::Receiver;
use crate::support::{Folder, Refusing};

const PAGE: &str = include_str!("../../../docs/callbacks.md");

/// A secret in each of its two forms.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "the former secret, as it is: é";

/// A language of the page: its fence, its program, and what calls the sample with the files `headers.json` and `body` and the
/// secret in the environment. It prints the id and exits 0, or exits 3.
const LANGUAGES: [(&str, &str, &str, &str, &str); 3] = [
    (
        "python",
        "python3",
        "sample.py",
        "",
        "import json, os, sys\n\
         try: print(verify(json.load(open('headers.json')), open('body', 'rb').read(), os.environ['SECRET']))\n\
         except ValueError: sys.exit(3)\n",
    ),
    (
        "js",
        "node",
        "sample.cjs",
        "",
        "const fs = require('node:fs');\n\
         try { console.log(verify(JSON.parse(fs.readFileSync('headers.json')), fs.readFileSync('body'), process.env.SECRET)); }\n\
         catch { process.exit(3); }\n",
    ),
    (
        "php",
        "php",
        "sample.php",
        "<?php\n",
        "try { echo verify(json_decode(file_get_contents('headers.json'), true), file_get_contents('body'), getenv('SECRET')), \"\\n\"; }\n\
         catch (Exception $e) { exit(3); }\n",
    ),
];

/// The only block of the page in this language.
fn sample(language: &str) -> &'static str {
    let fence = format!("\n```{language}\n");
    let mut blocks = PAGE.split(&fence).skip(1);
    let block = blocks.next().expect(language).split_once("\n```").expect("its end").0;
    assert!(blocks.next().is_none(), "one sample for each language");
    block
}

/// What a program does with these files; `None` when this machine does not have it.
fn verdict(folder: &Path, (program, file): (&str, &str), secret: &str) -> Option<Result<String, i32>> {
    let ran = Command::new(program).arg(file).current_dir(folder).env("SECRET", secret).output();
    let output = match ran {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        ran => ran.expect("it runs"),
    };
    let code = output.status.code().expect("it exits");
    let said = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr].concat()).into_owned();
    assert!(matches!(code, 0 | 3), "{program}: {said}");
    Some(if code == 0 { Ok(said.trim().to_owned()) } else { Err(code) })
}

#[test]
fn the_samples_take_what_is_genuine_and_nothing_else() {
    let books = Receiver::new();
    let nobody = Refusing::new();
    let mut setup = setup([&books.url(), &nobody.url()], "");
    setup.env.extend([("NEW".to_owned(), SECRET.to_owned()), ("OLD".to_owned(), OLD_SECRET.to_owned())]);
    setup.more = setup.more.replace(
        "name = \"books\"\n",
        "name = \"books\"\nsecret = { env = \"NEW\" }\nold_secret = { env = \"OLD\" }\n",
    );
    let gateway = setup.start_at(&nobody.url(), None);
    call_back(&gateway, PATH, [1]);
    let delivery = books.until(|got| got.len() == 1).remove(0);
    let headers: Map<_, _> =
        delivery.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let with = |name: &str, value: &str| {
        let mut headers = headers.clone();
        headers.insert(name.to_owned(), value.into());
        headers
    };
    let (id, timestamp) = (delivery.id(), delivery.header("webhook-timestamp").expect("a time"));
    // Genuine once, and shown again an hour later.
    let past = (timestamp.parse::<u64>().expect("seconds") - 3600).to_string();
    let mut replayed = with("webhook-timestamp", &past);
    replayed.insert("webhook-signature".into(), signed(id, &past, &delivery.body).into());
    let other = [b" ", delivery.body.as_slice()].concat();
    let mut tried = 0;
    for (language, program, file, before, after) in LANGUAGES {
        let folder = Folder::new();
        let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).expect("a file");
        write(file, [before, sample(language), "\n\n", after].concat().as_bytes());
        let judge = |headers: &Map<String, Value>, body: &[u8], secret: &str| {
            write("headers.json", Value::from(headers.clone()).to_string().as_bytes());
            write("body", body);
            verdict(folder.path(), (program, file), secret)
        };
        let Some(genuine) = judge(&headers, &delivery.body, SECRET) else {
            println!("{program} is not here, so its sample was not tried");
            continue;
        };
        tried += 1;
        assert_eq!(genuine.as_deref(), Ok(id), "{language}");
        assert_eq!(judge(&headers, &delivery.body, OLD_SECRET), Some(Ok(id.to_owned())), "{language}");
        for (what, headers, body, secret) in [
            ("another secret", &headers, &delivery.body, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ("another body", &headers, &other, SECRET),
            ("another id", &with("webhook-id", "cb_0000010000000009"), &delivery.body, SECRET),
            ("another time", &with("webhook-timestamp", &format!("{timestamp}0")), &delivery.body, SECRET),
            ("no time", &with("webhook-timestamp", "0"), &delivery.body, SECRET),
            ("an old time", &replayed, &delivery.body, SECRET),
            ("no signature", &with("webhook-signature", ""), &delivery.body, SECRET),
            ("another version", &with("webhook-signature", &version_two(&headers)), &delivery.body, SECRET),
        ] {
            assert_eq!(judge(headers, body, secret), Some(Err(3)), "{language}: {what}");
        }
    }
    println!("{tried} of {} samples were tried", LANGUAGES.len());
}

/// The same signatures under a name that they do not have.
fn version_two(headers: &Map<String, Value>) -> String {
    headers["webhook-signature"].as_str().expect("a signature").replace("v1,", "v2,")
}

/// A signature of [`SECRET`], made here and not by the gateway.
fn signed(id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("base64");
    let mut signer = Signer::new(MessageDigest::sha256(), &PKey::hmac(&key).expect("a key")).expect("a signer");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        signer.update(part).expect("a part");
    }
    format!("v1,{}", STANDARD.encode(signer.sign_to_vec().expect("a signature")))
}

#[test]
fn the_page_names_the_options_and_words_that_there_are() {
    let help = |what: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_airudder-gateway")).args(["inbox", what, "--help"]).output();
        String::from_utf8(output.expect("the program runs").stdout).expect("text")
    };
    let helps = ["list", "show", "redrive", "purge"].map(help);
    let (_, operating) = PAGE.split_once("### Look, send again, remove").expect("the section");
    let of_page: Vec<_> = operating
        .split("--")
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|rest| rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next().unwrap_or_default())
        .collect();
    assert!(of_page.len() > 15, "{of_page:?}");
    for option in &of_page {
        assert!(
            helps.iter().any(|help| help.contains(&format!("--{option} ")) || help.contains(&format!("--{option}\n"))),
            "--{option}"
        );
    }
    for option in helps.iter().flat_map(|help| help.lines()).filter_map(|line| line.trim_start().strip_prefix("--")) {
        let option = option.split(' ').next().unwrap_or_default();
        assert!(of_page.contains(&option), "--{option} is not on the page");
    }
    for kind in airudder_gateway::inbox::Kind::ALL {
        assert!(PAGE.contains(&format!("`{}`", kind.as_str())), "{}", kind.as_str());
    }
    for state in airudder_gateway::inbox::State::ALL {
        assert!(operating.contains(&format!("`{}`", state.as_str())), "{}", state.as_str());
    }
}
