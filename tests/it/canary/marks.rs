//! The marks that no output may hold, in every form that they could leak in.

use std::fmt::Write as _;

use airudder_gateway::envelope::Signed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A phone number, as the platform wants it.
pub(super) const PHONE: &str = "+6281377700042";
/// Somebody's name.
pub(super) const NAME: &str = "Canary陈小明Name";
/// Of the account.
pub(super) const AES_KEY: &str = "cAnArYaEsKeY0042";
/// Of the account; characters that JSON, forms and URLs write differently.
pub(super) const APP_KEY: &str = "canary-app\\key/é";
/// Of the account.
pub(super) const APP_SECRET: &str = "canary app+secret=\"1";
/// Of a program.
pub(super) const API_KEY: &str = "canary-api-key:0042";
/// A header value of an operation.
pub(super) const TENANT_TOKEN: &str = "canary-tenant-token/42";
/// A token that the platform never gave: one that a program invents.
pub(super) const OWN_TOKEN: &str = "canaryOwnToken+/42==";

/// Secrets may be nowhere; a program's own data may be in what the platform answered to it, and nowhere else.
pub(super) struct Marks {
    secrets: Vec<(String, String)>,
    data: Vec<(String, String)>,
}

impl Marks {
    /// The constants above.
    pub(super) fn new() -> Self {
        let mut marks = Self { secrets: Vec::new(), data: Vec::new() };
        for secret in [AES_KEY, APP_KEY, APP_SECRET, API_KEY, TENANT_TOKEN] {
            marks.secrets.extend(forms(secret.as_bytes()));
        }
        // The digits alone: whatever became of the plus.
        for own in [PHONE.trim_start_matches('+'), NAME, OWN_TOKEN] {
            marks.data.extend(forms(own.as_bytes()));
        }
        for signed in [PHONE, PHONE.trim_start_matches('+'), NAME] {
            marks.add_plaintext(signed.as_bytes());
        }
        marks
    }

    /// A token that the platform gave.
    pub(super) fn add_token(&mut self, token: &str) {
        self.secrets.extend(forms(token.as_bytes()));
    }

    /// Something that was sealed: its digest can be guessed, so it counts as personal.
    pub(super) fn add_plaintext(&mut self, plain: &[u8]) {
        self.data.push(("digest".into(), Signed::of(plain).as_str().to_owned()));
    }

    /// Something that went over the wire.
    pub(super) fn add_ciphertext(&mut self, text: &str) {
        if text.len() >= 16 {
            self.data.push(("ciphertext".into(), text.to_lowercase()));
        }
    }

    /// Nothing of the gateway's own making may hold any mark.
    #[track_caller]
    pub(super) fn assert_none(&self, place: &str, text: &str) {
        self.assert_absent(place, text, self.secrets.iter().chain(&self.data));
    }

    /// What the platform answered may hold the program's own data.
    #[track_caller]
    pub(super) fn assert_no_secret(&self, place: &str, text: &str) {
        self.assert_absent(place, text, self.secrets.iter());
    }

    #[track_caller]
    fn assert_absent<'a>(&self, place: &str, text: &str, marks: impl Iterator<Item = &'a (String, String)>) {
        let text = text.to_lowercase();
        for (form, mark) in marks {
            if let Some(at) = text.find(mark) {
                let from = text.floor_char_boundary(at.saturating_sub(300));
                let around = &text[from..text.ceil_char_boundary(at + mark.len() + 100)];
                panic!("{place} holds {mark:?} ({form}): …{around}…");
            }
        }
    }
}

/// The forms that text takes on its way into logs, pages and messages, in lower case: as the places it travels through
/// write it, and each of these again as bytes that somebody printed.
fn forms(mark: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(mark).expect("text");
    let (mut url, mut ascii) = (String::new(), String::new());
    for byte in mark {
        let _ = if byte.is_ascii_alphanumeric() {
            write!(url, "{}", char::from(*byte))
        } else {
            write!(url, "%{byte:02x}")
        };
    }
    let json = serde_json::Value::from(text).to_string();
    let json = json.trim_matches('"').to_owned();
    for unit in json.encode_utf16() {
        let _ = match char::from_u32(unit.into()).filter(char::is_ascii) {
            Some(char) => write!(ascii, "{char}"),
            None => write!(ascii, "\\u{unit:04x}"),
        };
    }
    let written = [
        ("plain", text.to_owned()),
        ("as JSON", json),
        ("as ASCII JSON", ascii),
        ("percent-encoded with pluses", url.replace("%20", "+")),
        ("percent-encoded", url),
    ];
    let mut forms: Vec<(String, String)> = Vec::new();
    for (form, text) in written {
        let bytes = text.as_bytes();
        let mut all = vec![
            text.clone(),
            text.escape_debug().to_string(),
            bytes.escape_ascii().to_string(),
            format!("{bytes:?}").trim_matches(['[', ']']).to_owned(),
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ];
        // Base64 of a text that holds the mark, wherever it begins in a group of three.
        for before in 0..3 {
            let encoded = STANDARD.encode([&vec![0; before], bytes].concat());
            let encoded = &encoded[(before * 8).div_ceil(6)..(before + bytes.len()) * 8 / 6];
            all.extend([encoded.to_owned(), encoded.replace('+', "-").replace('/', "_")]);
        }
        for text in all.into_iter().map(|text| text.to_lowercase()) {
            if !forms.iter().any(|(_, known)| *known == text) {
                forms.push((form.to_owned(), text));
            }
        }
    }
    forms
}

#[test]
fn each_form_of_a_mark_is_found() {
    let mut marks = Marks::new();
    marks.add_token("toKen+/from the platform==");
    for leak in [
        "x 6281377700042 x",
        "callee=%2B6281377700042",
        "Canary\\u9648\\u5c0f\\u660eName",
        "canary%E9%99%88%e5%b0%8f%E6%98%8Ename",
        "63416e4172596145734b655930303432",
        "[99, 65, 110, 65, 114, 89, 97, 69, 115, 75, 101, 89, 48, 48, 52, 50]",
        r#"canary app+secret=\"1"#,
        &format!("{:?}", serde_json::Value::from(APP_SECRET).to_string().as_bytes()),
        &format!("{:?}", format!("{APP_SECRET:?}")),
        "canary+app%2Bsecret%3D%221",
        &STANDARD.encode("{\"a\":\"+6281377700042\"}"),
        &STANDARD.encode(".{\"a\":\"+6281377700042\"}"),
        &STANDARD.encode("..{\"a\":\"+6281377700042\"}"),
        Signed::of(PHONE.as_bytes()).as_str(),
        "Token toKen+/from the platform==",
    ] {
        assert!(std::panic::catch_unwind(|| marks.assert_none("it", leak)).is_err(), "{leak}");
    }
    marks.assert_none("it", "nothing of the kind");
}
