//! Whatever is written: a configuration, or a refusal of one line that shows no secret, neither of the environment nor of a
//! file nor one that was written in the wrong place.
#![no_main]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

use airudder_gateway::config::Config;
use airudder_gateway_fuzz::{Input, leaves_nothing};
use libfuzzer_sys::fuzz_target;

/// Stands in every secret that can be had, and in nothing else.
const CANARY: &str = "c4narY";

/// A folder with a secret and a certificate file that is none.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("gateway-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("secret"), format!("{CANARY}-of-16-by")).expect("a file");
    folder
});

/// Keys whose values are secrets, each with what has to stand before it.
const SECRETS: [(&str, &str); 9] = [
    ("[outbound]", "token_key"),
    ("[outbound]", "old_token_key"),
    ("[admin]", "token"),
    ("[[account]]\nname = \"main\"", "app_key"),
    ("[[account]]\nname = \"main\"", "app_secret"),
    ("[[account.encryption]]", "key"),
    ("[[program]]\nname = \"books\"", "key"),
    ("[[receiver]]\nname = \"crm\"", "secret"),
    ("[inbox]", "key"),
];

/// A variable is there whatever its name, and long enough for what its name says.
fn env(name: &str) -> Option<OsString> {
    let long = match name {
        _ if name.ends_with("MISSING") => return None,
        _ if name.contains("AES") => format!("{CANARY}-of-16-by"),
        _ if name.contains("WEBHOOK") => format!("whsec_{CANARY}QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="),
        _ => format!("{CANARY} and more of it, thirty-two"),
    };
    Some(long.into())
}

fn check_line(line: &str) {
    assert!(!line.contains(['\n', '\r']) && !line.is_empty(), "{line:?}");
}

/// Gives the refusal, if it is one.
fn check(text: &str) -> Option<String> {
    match Config::parse(text, &FOLDER, env) {
        Ok(config) => {
            assert!(!format!("{config:?}").contains(CANARY));
            for warning in &config.warnings {
                check_line(warning);
                assert!(!warning.contains(CANARY), "{warning}");
            }
            assert!(!config.accounts.is_empty());
            for source in &config.sources {
                assert!(source.account < config.accounts.len());
                assert!(source.receivers.iter().all(|&receiver| receiver < config.receivers.len()));
                assert!(config.inbound.is_some());
            }
            assert!(config.programs.iter().all(|program| program.account.is_none_or(|at| at < config.accounts.len())));
            None
        }
        Err(error) => {
            let printed = error.to_string();
            check_line(&printed);
            if !text.contains(CANARY) {
                assert!(!printed.contains(CANARY) && !format!("{error:?}").contains(CANARY), "{printed}");
            }
            assert!(error.line().is_none_or(|line| (1..=text.matches('\n').count() + 1).contains(&line)), "{printed}");
            Some(printed)
        }
    }
}

/// A secret as an operator should not write it.
fn check_misplaced(mut input: Input<'_>) {
    let (section, key) = input.choose(&SECRETS);
    let form = input.below(5);
    let Ok(noise) = str::from_utf8(input.0) else { return };
    if noise.chars().count() > 24 {
        return;
    }
    let secret: String = noise.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\' | '\'')).collect();
    let secret = format!("{CANARY}{secret}");
    let value = match form {
        0 => format!("\"{secret}\""),
        1 => format!("{{ env = \"{secret}\" }}"),
        2 => format!("{{ file = \"{secret}\" }}"),
        3 => format!("[\"{secret}\"]"),
        _ => format!("{{ value = \"{secret}\" }}"),
    };
    let text = format!("[outbound]\nlisten = \"127.0.0.1:0\"\n{section}\n{key} = {value}\n");
    let text =
        if section == "[outbound]" { text.replacen("[outbound]\nlisten = \"127.0.0.1:0\"\n", "", 1) } else { text };
    if let Err(error) = Config::parse(&text, &FOLDER, |_| None) {
        let printed = error.to_string();
        check_line(&printed);
        assert!(!printed.contains(CANARY), "{printed}");
    }
}

fuzz_target!(|data: &[u8]| {
    leaves_nothing(|| {
        // Text that begins with a control character is never wanted: it says that the rest is taken apart.
        match data {
            [1, rest @ ..] => check_misplaced(Input(rest)),
            text => {
                let Ok(text) = str::from_utf8(text) else { return };
                check(text);
            }
        }
    });
});
