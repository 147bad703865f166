//! Programs that log in: an existing client changes its base address and its key pair, and nothing else.

pub(crate) mod client;
mod logins;
mod operations;
mod tokens;

use airudder_gateway::simulator::Simulator;

use crate::support::{Answer, Client, Gateway, Setup};

const TASK: &str = "/service/cloud/task";
const LOGIN: &str = "/service/cloud/auth";
const PREDICT_TASK: &str = "/service/callcenter/call/predict/createtask";
const PREDICT_LOGIN: &str = "/service/callcenter/call/predict/auth";

/// What signs tokens here unless a test says otherwise.
const TOKEN_KEY: &str = "a key that signs gateway tokens in these tests";

/// The pairs of the two programs.
pub(crate) const BOOKS: (&str, &str) = ("books-app-key", "books app+secret=\"é\\&/1");
const CALLS: (&str, &str) = ("calls-app-key", "the secret of calls-app");

/// Two programs that log in and one that never does. `books` may create tasks and look at them.
pub(crate) fn setup() -> Setup {
    let pair = |name: &str, of: &str| {
        format!(
            "[[program]]\nname = \"{name}\"\nkey = {{ env = \"{of}_KEY\" }}\nsecret = {{ env = \"{of}_SECRET\" }}\n"
        )
    };
    let env = [
        ("TOKEN_KEY", TOKEN_KEY),
        ("BOOKS_KEY", BOOKS.0),
        ("BOOKS_SECRET", BOOKS.1),
        ("CALLS_KEY", CALLS.0),
        ("CALLS_SECRET", CALLS.1),
        ("OLD_KEY", "the key of a program without a login"),
    ];
    Setup {
        outbound: "threads = 2\ntoken_key = { env = \"TOKEN_KEY\" }".into(),
        more: format!(
            "{}operations = [\"task.*\", \"predict.createtask\"]\n{}[[program]]\nname = \"old\"\napi_key = {{ env = \"OLD_KEY\" }}\n",
            pair("books", "BOOKS"),
            pair("calls", "CALLS")
        ),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Setup::default()
    }
}

impl Setup {
    /// The same with another value of a variable.
    fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }
}

fn json((key, secret): (&str, &str)) -> String {
    serde_json::json!({"APPKey": key, "APPSecret": secret}).to_string()
}

fn form((key, secret): (&str, &str)) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("APPKey", key).append_pair("APPSecret", secret).finish()
}

/// The token in the answer to a login, in the shape of its family.
#[track_caller]
fn token_of(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!((answer.status, answer.word()), (200, None), "{body}");
    let token = if body["code"] == 0 { &body["body"]["token"] } else { &body["data"]["token"] };
    token.as_str().unwrap_or_else(|| panic!("a token: {body}")).to_owned()
}

/// Logs in to the first family.
#[track_caller]
fn log_in(gateway: &Gateway, pair: (&str, &str)) -> String {
    token_of(&gateway.client().post(LOGIN, json(pair)))
}

/// Creates a task with what stands in `Authorization`.
fn call(client: &mut Client, authorization: &str) -> Answer {
    client.post_with(TASK, &format!("Authorization: {authorization}\r\n"), r#"{"TaskName":"t"}"#)
}

#[track_caller]
fn check_refused(answer: &Answer, status: u16, word: &str) {
    assert_eq!((answer.status, answer.word()), (status, Some(word)), "{answer:?}");
    let body = answer.json();
    assert_eq!((&body["code"], &body["sent"], &body["data"]), (&status.into(), &"no".into(), &().into()), "{body}");
}

/// What reached the platform for these paths carried its own token, and nothing that programs send.
#[track_caller]
fn check_arrived(platform: &Simulator, path: &str, times: usize) {
    let arrived = crate::support::arrived_at(platform, path);
    assert_eq!(arrived.len(), times, "{path}");
    let real = platform.tokens();
    for request in arrived {
        let values: Vec<_> = request.headers_named("authorization").collect();
        assert!(
            matches!(values[..], [value] if real.iter().any(|token| value == format!("Token {token}"))),
            "{values:?}"
        );
        assert!(request.headers.iter().all(|(name, _)| !name.to_ascii_lowercase().starts_with("x-gateway")));
    }
}
