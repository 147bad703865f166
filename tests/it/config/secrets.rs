//! No refusal and no printed configuration ever shows a secret, wherever an operator put it.

use super::{ACCOUNT, parse, sample};

const RECEIVER: &str = "[[receiver]]\nname = \"r\"\nurl = \"http://127.0.0.1:9\"\n";
const SOURCE: &str = "[inbound]\n[[source]]\nname = \"s\"\npath = \"/s\"\n";

#[test]
fn a_secret_in_the_wrong_place_is_never_shown() {
    let wrong = [
        "\"canary\"",
        "'canary'",
        "\"\"\"\ncanary\n\"\"\"",
        "canary",
        "[\"canary\"]",
        "{ env = \"canary\" }",
        "{ env = \"CANARYcanary_1\" }",
        "{ env = \"canary=\" }",
        "{ file = \"canary\" }",
        "{ file = \"/canary/canary\" }",
        "{ env = [\"canary\"] }",
        "{ env = { canary = 1 } }",
        "{ env = \"APP_KEY\", canary = 1 }",
        "{ canary = true }",
        "{ \"canary\" }",
        "{ canary }",
        "{ env = canary }",
        "{ text = \"canary\" }",
        "\"canary",
    ];
    let places = [
        "[[account]]\nname = \"a\"\napp_key = %\n",
        "[[account]]\nname = \"a\"\napp_key = { env = \"APP_KEY\" }\napp_secret = %\n",
        "ACCOUNTencryption = %\n",
        "ACCOUNTencryption = { scheme = \"aes-ecb-zero\", key = % }\n",
        "ACCOUNTencryption = { scheme = %, key = { env = \"AES_KEY\" } }\n",
        "ACCOUNTencryption = { scheme = \"aes-cbc-pkcs7\", key = { env = \"AES_KEY\" }, iv = % }\n",
        "ACCOUNTencryption = { scheme = \"aes-cbc-pkcs7\", key = { env = \"AES_KEY\" }, iv = { fixed = % } }\n",
        "ACCOUNTupstream = %\n",
        "ACCOUNTlogin = { burst = % }\n",
        "ACCOUNT[[program]]\nname = \"p\"\napi_key = %\n",
        "ACCOUNT[[program]]\nname = \"p\"\nkey = %\nsecret = { env = \"KEY_A\" }\n",
        "ACCOUNT[[program]]\nname = \"p\"\nkey = { env = \"KEY_A\" }\nsecret = %\n",
        "ACCOUNT[[operation]]\nname = \"o\"\nheaders = { token = % }\n",
        "ACCOUNT[admin]\ntoken = %\n",
        "ACCOUNT[[receiver]]\nname = \"r\"\nurl = %\n",
        "ACCOUNTRECEIVERsecret = %\n",
        "ACCOUNTRECEIVERsecret = { env = \"HOOK\" }\nold_secret = %\n",
        "ACCOUNTRECEIVERheaders = { Authorization = % }\n",
        "ACCOUNTSOURCE[inbox]\nkey = %\n",
        "ACCOUNTSOURCE[inbox]\nold_keys = %\n",
        "ACCOUNTSOURCE[inbox]\nold_keys = [%]\n",
        "ACCOUNTSOURCE[[source]]\nname = \"b\"\npath = %\n",
    ];
    for (reference, place) in wrong.iter().flat_map(|reference| places.map(|place| (reference, place))) {
        if place.contains("encryption = %") && reference.starts_with('{') {
            continue; // an unknown key of a table has to be named
        }
        let text = place.replace("ACCOUNT", ACCOUNT).replace("RECEIVER", RECEIVER).replace("SOURCE", SOURCE);
        let text = text.replace('%', reference) + "[outbound]\n";
        let error = parse(&text).expect_err(&text);
        let printed = format!("{error} {error:?}").to_lowercase();
        assert!(!printed.contains("canary"), "{text}\n{printed}");
        assert_eq!(error.to_string().lines().count(), 1, "{text}\n{error}");
    }
}

/// Thousands of files with a few characters changed: never a panic, always one line, never a secret.
#[test]
fn damaged_files_are_refused_in_one_line_or_read() {
    const ROUNDS: usize = 5000;
    const PIECES: [&str; 18] =
        ["\"", "#", "\n", "[", "]", "{", "}", "=", "0", "-", "é", "\\", "\u{0}", " ", "env", "_", "'''", "1e9"];
    let mut whole = sample::uncommented(0).replace("AIRUDDER_", "");
    // The files are not there.
    let refers = |line: &&str| !["ca = ", "tls = ", "identity = "].iter().any(|key| line.starts_with(key));
    whole = whole.lines().filter(refers).map(|line| format!("{line}\n")).collect();
    for (name, known) in [("COLLECTIONS_API_KEY", "KEY_A"), ("PROCESS_TOKEN", "KEY_A"), ("PROCESS_TENANT", "KEY_B")] {
        whole = whole.replace(name, known);
    }
    parse(&whole).expect("the undamaged file");
    let whole: Vec<char> = whole.chars().collect();
    // xorshift64 with a fixed seed: the same files in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("small")
    };
    let mut refused = 0;
    for _ in 0..ROUNDS {
        let mut text = whole.clone();
        for _ in 0..=draw(3) {
            let at = draw(text.len());
            let until = (at + draw(4)).min(text.len());
            text.splice(at..until, PIECES[draw(PIECES.len())].chars());
        }
        let text = String::from_iter(text);
        let printed = match parse(&text) {
            Ok(config) => format!("{config:?}"),
            Err(error) => {
                refused += 1;
                assert_eq!(error.to_string().lines().count(), 1, "{text}\n{error}");
                error.to_string()
            }
        };
        assert!(!printed.contains("canary"), "{text}\n{printed}");
    }
    assert!((ROUNDS / 2..ROUNDS).contains(&refused), "{refused} of {ROUNDS} refused: too little damage, or too much");
}
