//! Faults on demand: what can go wrong, for whom, and how often.
//! It decides which fault strikes; `service` does it.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::auth::Family;
use super::lock::lock;

/// A fault, whom it strikes and how often. As JSON: the fields of its [`FaultKind`], `"on"` (`"calls"`, `"any"`,
/// `"auth"` or a path; `"calls"` when absent) and `"times"` (a number or `"always"`; 1 when absent).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    kind: FaultKind,
    on: On,
    /// `None`: always.
    times: Option<u32>,
}

/// What goes wrong. As JSON: `{"kind": "cut_mid_answer", "after": 100}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// An HTTP status with a page in place of the answer.
    Status {
        /// HTTP status, 200 to 599.
        code: u16,
        /// What the body is.
        #[serde(default)]
        page: Page,
        /// Seconds in a `Retry-After` header.
        #[serde(default)]
        retry_after: Option<u64>,
        /// Seal it (only [`Page::Json`] can be).
        #[serde(default)]
        sealed: bool,
    },
    /// HTTP 200 with this body code in place of the answer, sealed if the call was.
    Code {
        /// The failing code.
        code: i64,
    },
    /// The token is refused, though it is good.
    Refuse,
    /// No answer for this long (`None`: ever), then the usual one.
    Hang {
        /// Milliseconds.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// No answer until the simulator is told to let go, then the usual one.
    Hold,
    /// The connection ends when the header was read.
    CutBeforeBody {
        /// With a reset.
        #[serde(default)]
        reset: bool,
    },
    /// The connection ends when the whole request was read, before a byte of the answer.
    CutBeforeAnswer {
        /// With a reset.
        #[serde(default)]
        reset: bool,
    },
    /// The connection ends inside the answer's body.
    CutMidAnswer {
        /// Bytes of the body that are sent, fewer than all.
        after: usize,
        /// With a reset.
        #[serde(default)]
        reset: bool,
    },
    /// The usual answer, and then the connection closes without having said so.
    CloseAfter,
    /// Not sealed, though the call was.
    Unsealed,
    /// Sealed with another key.
    OtherKey,
    /// Sealed, with the digest of something else.
    WrongDigest,
    /// Sealed, without `Signed`.
    NoDigest,
    /// Sealed, with a character that base64 does not have.
    BadBase64,
    /// Sealed, with only the beginning of its text.
    Shortened {
        /// Characters that are left.
        to: usize,
    },
    /// These bytes in place of an answer, as they are, and then the connection ends.
    Raw {
        /// The status line and all that follows.
        text: String,
    },
    /// 413 before the body is read.
    Early {
        /// What happens to the body.
        #[serde(default)]
        rest: Rest,
    },
    /// The usual answer, a byte at a time.
    Trickle {
        /// Milliseconds between two bytes.
        ms: u64,
    },
    /// The usual header, and a chunked body that never ends.
    Endless,
    /// 302 to another place.
    Redirect {
        /// `Location`.
        location: String,
    },
}

/// What stands in place of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Page {
    /// The platform's shape, with the status as code.
    #[default]
    Json,
    /// A web server's error page.
    Html,
    /// Nothing.
    Empty,
}

/// What happens to the rest of a request that was answered early.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// The connection closes.
    #[default]
    Close,
    /// It is read and the connection stays.
    KeepReading,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum On {
    /// Everything but logins.
    Calls,
    Any,
    Auth,
    Path(String),
}

impl Fault {
    /// Once, on the next call that is not a login.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, on: On::Calls, times: Some(1) }
    }

    /// An HTTP status with a JSON body.
    pub fn status(code: u16) -> Self {
        Self::page(code, Page::Json)
    }

    /// An HTTP status with this kind of body. `(200, Page::Html)` is a proxy that thinks all is well.
    pub fn page(code: u16, page: Page) -> Self {
        Self::new(FaultKind::Status { code, page, retry_after: None, sealed: false })
    }

    /// 429 with `Retry-After` in seconds.
    pub fn too_many(retry_after: u64) -> Self {
        Self::new(FaultKind::Status { code: 429, page: Page::Json, retry_after: Some(retry_after), sealed: false })
    }

    /// HTTP 200 with a failing body code.
    pub fn code(code: i64) -> Self {
        Self::new(FaultKind::Code { code })
    }

    /// Never an answer.
    pub fn hang() -> Self {
        Self::new(FaultKind::Hang { ms: None })
    }

    /// The connection ends when the whole request was read.
    pub fn cut() -> Self {
        Self::new(FaultKind::CutBeforeAnswer { reset: false })
    }

    /// Strikes that many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes until it is cleared.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Strikes logins only.
    #[must_use]
    pub fn on_auth(mut self) -> Self {
        self.on = On::Auth;
        self
    }

    /// Strikes logins too.
    #[must_use]
    pub fn on_anything(mut self) -> Self {
        self.on = On::Any;
        self
    }

    /// Strikes this exact path only.
    #[must_use]
    pub fn on_path(mut self, path: impl Into<String>) -> Self {
        self.on = On::Path(path.into());
        self
    }

    fn strikes(&self, path: &str) -> bool {
        match &self.on {
            On::Any => true,
            On::Calls => Family::of_login(path).is_none(),
            On::Auth => Family::of_login(path).is_some(),
            On::Path(only) => only == path,
        }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self::new(kind)
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut written = Map::deserialize(deserializer)?;
        let on = written.remove("on");
        let times = written.remove("times");
        let kind = FaultKind::deserialize(Value::Object(written)).map_err(de::Error::custom)?;
        let on = match on.as_ref().map(Value::as_str) {
            None | Some(Some("calls")) => On::Calls,
            Some(Some("any")) => On::Any,
            Some(Some("auth")) => On::Auth,
            Some(Some(path)) if path.starts_with('/') => On::Path(path.to_owned()),
            Some(_) => return Err(de::Error::custom("\"on\" is \"calls\", \"any\", \"auth\" or a path")),
        };
        let number = |times: &Value| times.as_u64().and_then(|times| u32::try_from(times).ok());
        let times = match &times {
            None => Some(1),
            Some(times) if times == "always" => None,
            Some(times) => {
                let wrong = || de::Error::custom("\"times\" is a number or \"always\"");
                Some(number(times).ok_or_else(wrong)?)
            }
        };
        Ok(Self { kind, on, times })
    }
}

/// The faults that wait to strike.
#[derive(Default)]
pub(super) struct Faults(Mutex<VecDeque<Fault>>);

impl Faults {
    pub(super) fn push(&self, fault: Fault) {
        if fault.times != Some(0) {
            lock(&self.0).push_back(fault);
        }
    }

    /// The first fault that strikes this path; it has then struck once.
    pub(super) fn take(&self, path: &str) -> Option<FaultKind> {
        let mut faults = lock(&self.0);
        let at = faults.iter().position(|fault| fault.strikes(path))?;
        let fault = faults.get_mut(at)?;
        let kind = fault.kind.clone();
        match &mut fault.times {
            None => {}
            Some(1) => {
                faults.remove(at);
            }
            Some(times) => *times -= 1,
        }
        Some(kind)
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_takes_the_first_fault_that_matches_it() {
        let faults = Faults::default();
        faults.push(Fault::status(500).times(2));
        faults.push(Fault::hang().on_auth());
        faults.push(Fault::cut().on_path("/b").always());
        let taken = |path| faults.take(path);
        assert_eq!(taken("/service/cloud/auth"), Some(Fault::hang().kind));
        assert_eq!(taken("/service/cloud/auth"), None);
        assert_eq!(taken("/a"), Some(Fault::status(500).kind));
        assert_eq!(taken("/b"), Some(Fault::status(500).kind));
        assert_eq!(taken("/a"), None);
        assert_eq!(taken("/b"), Some(Fault::cut().kind));
        assert_eq!(taken("/b"), Some(Fault::cut().kind));
    }

    #[test]
    fn faults_are_written_as_json() {
        for (written, expected) in [
            (r#"{"kind":"status","code":500}"#, Ok(Fault::status(500))),
            (r#"{"kind":"status","code":429,"retry_after":7}"#, Ok(Fault::too_many(7))),
            (
                r#"{"kind":"status","code":200,"page":"html","on":"auth","times":3}"#,
                Ok(Fault::page(200, Page::Html).on_auth().times(3)),
            ),
            (r#"{"kind":"hang","on":"/a","times":"always"}"#, Ok(Fault::hang().on_path("/a").always())),
            (
                r#"{"kind":"early","rest":"keep_reading","on":"any"}"#,
                Ok(Fault::from(FaultKind::Early { rest: Rest::KeepReading }).on_anything()),
            ),
            (r#"{"kind":"other_key"}"#, Ok(Fault::new(FaultKind::OtherKey))),
            (r#"{"kind":"hang","on":"nobody"}"#, Err("\"on\" is")),
            (r#"{"kind":"hang","times":"often"}"#, Err("\"times\" is")),
            (r#"{"kind":"hang","times":-1}"#, Err("\"times\" is")),
            (r#"{"kind":"hang","on":7}"#, Err("\"on\" is")),
            (r#"{"kind":"hang","tims":2}"#, Err("unknown field `tims`, expected `ms`")),
            (r#"{"kind":"cut_mid_answer"}"#, Err("missing field `after`")),
            (r#"{"kind":"flood"}"#, Err("unknown variant `flood`, expected one of `status`")),
        ] {
            match (serde_json::from_str::<Fault>(written), expected) {
                (Ok(fault), Ok(expected)) => assert_eq!(fault, expected, "{written}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{written}: {error}"),
                (got, _) => panic!("{written}: {got:?}"),
            }
        }
    }
}
