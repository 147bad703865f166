//! The operations of the platform: which call is which.
//!
//! A path decides, and a method only where the configuration adds an operation: one public client sends
//! "GET" calls as POST. A path that is none of the known ones is forwarded as `other`. It never refuses.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt as _};
use http::{HeaderName, HeaderValue, Method};

use crate::config::{OperationPattern, OperationRule, Program};
use crate::http::headers;
use crate::token::Family;

/// The name of every operation that is not in the table.
pub(crate) const OTHER: &str = "other";

/// Everything below this path belongs to the second token family.
const CALL_CENTRE: &str = "/service/callcenter/call/predict/";

/// One named operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Name in logs and metrics.
    pub(crate) name: String,
    /// How a call proves whose it is.
    pub(crate) auth: Auth,
    /// Whether it is sealed; `None`: as the account says.
    pub(crate) sealed: Option<bool>,
    /// Whether a POST of it is refused without an idempotency key.
    pub(crate) needs_key: bool,
}

/// How a call proves whose it is.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    /// The account's token.
    Token(Family),
    /// These headers; without any, what the program itself sent passes through.
    Headers(Vec<(HeaderName, HeaderValue)>),
    /// It is a login: answered here, never forwarded.
    Login(Family),
}

impl Operation {
    /// Whether the configuration sets this header, so that the program's own value does not count.
    pub(crate) fn sets(&self, name: &[u8]) -> bool {
        matches!(&self.auth, Auth::Headers(headers) if headers.iter().any(|(set, _)| headers::is(name, set.as_str())))
    }
}

/// Known operations: name and path.
const KNOWN: &[(&str, &str)] = &[
    ("auth", "/service/cloud/auth"),
    ("task.create", "/service/cloud/task"),
    ("task.create_v2", "/service/cloud/v2/task"),
    ("task.stop", "/service/cloud/operation"),
    ("call.cancel", "/service/cloud/cancelphonecall"),
    ("task.list", "/service/cloud/list"),
    ("task.detail", "/service/cloud/detail"),
    ("robot.list", "/service/cloud/robot"),
    ("task.recordings", "/service/cloud/recording"),
    ("call.recording", "/service/cloud/case"),
    ("workflow.create", "/service/cloud/workflow/createinstance"),
    ("workflow.upload", "/service/cloud/workflow/uploaddetails"),
    ("workflow.task_detail", "/service/cloud/workflow/taskdetail"),
    ("workflow.find", "/service/cloud/workflow/detailinstances"),
    ("sms.send", "/service/sms/message/v2/send"),
    ("predict.auth", "/service/callcenter/call/predict/auth"),
    ("predict.createtask", "/service/callcenter/call/predict/createtask"),
    ("predict.copytask", "/service/callcenter/call/predict/copytask"),
    ("predict.canceltaskcontacts", "/service/callcenter/call/predict/canceltaskcontacts"),
    ("predict.querytasklist", "/service/callcenter/call/predict/querytasklist"),
    ("predict.querytaskdetail", "/service/callcenter/call/predict/querytaskdetail"),
    ("predict.case_recording", "/service/callcenter/call/predict/case/recording"),
    ("process.query_read", "/api/v1/process/queryTaskQian"),
];

/// The table of operations, with what the configuration changed.
#[derive(Debug)]
pub(crate) struct Routes {
    by_path: HashMap<String, Vec<(Option<Method>, Operation)>>,
    other: Operation,
    other_call_centre: Operation,
}

impl Routes {
    /// The known operations with the configured rules applied.
    ///
    /// # Errors
    /// A sentence naming the rule: a name that is neither known nor given a path, or a path taken twice.
    pub(crate) fn try_new(rules: &[OperationRule]) -> Result<Self, String> {
        let other =
            |family| Operation { name: OTHER.to_owned(), auth: Auth::Token(family), sealed: None, needs_key: false };
        let mut routes =
            Self { by_path: HashMap::new(), other: other(Family::Cloud), other_call_centre: other(Family::CallCentre) };
        for (name, path) in KNOWN {
            let family = if path.starts_with(CALL_CENTRE) { Family::CallCentre } else { Family::Cloud };
            let auth = match *name {
                "auth" | "predict.auth" => Auth::Login(family),
                "process.query_read" => Auth::Headers(Vec::new()),
                _ => Auth::Token(family),
            };
            let operation = Operation { name: (*name).to_owned(), auth, sealed: None, needs_key: false };
            routes.by_path.insert((*path).to_owned(), vec![(None, operation)]);
        }
        for rule in rules {
            routes.apply(rule)?;
        }
        Ok(routes)
    }

    fn apply(&mut self, rule: &OperationRule) -> Result<(), String> {
        let operation = match &rule.route {
            None if rule.name == OTHER => &mut self.other,
            None => self
                .by_path
                .values_mut()
                .flatten()
                .map(|(_, operation)| operation)
                .find(|operation| operation.name == rule.name)
                .ok_or_else(|| {
                    format!(
                        "[[operation]] {:?} is not a known operation; give it method and path, or use one of {}",
                        rule.name,
                        KNOWN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
                    )
                })?,
            Some((method, path)) => {
                if KNOWN.iter().any(|(name, known)| *name == rule.name || known == path) {
                    return Err(format!(
                        "[[operation]] {:?}: this name or path is known already; leave method and path out to change it",
                        rule.name
                    ));
                }
                let family = if path.starts_with(CALL_CENTRE) { Family::CallCentre } else { Family::Cloud };
                let operation =
                    Operation { name: rule.name.clone(), auth: Auth::Token(family), sealed: None, needs_key: false };
                let of_path = self.by_path.entry(path.clone()).or_default();
                if of_path.iter().any(|(taken, _)| taken.as_ref() == Some(method)) {
                    return Err(format!("[[operation]] {:?}: {method} {path} is taken by another rule", rule.name));
                }
                of_path.push((Some(method.clone()), operation));
                let Some((_, operation)) = of_path.last_mut() else { return Ok(()) };
                operation
            }
        };
        if matches!(operation.auth, Auth::Login(_)) {
            return Err(format!(
                "[[operation]] {:?}: logins are answered by the gateway and cannot be changed",
                rule.name
            ));
        }
        operation.needs_key |= rule.needs_key;
        if rule.sealed.is_some() {
            operation.sealed = rule.sealed;
        }
        if !rule.headers.is_empty() {
            let value = |name: &HeaderName, secret: &crate::secret::Secret| {
                let mut value = HeaderValue::from_bytes(secret.expose())
                    .map_err(|_| format!("[[operation]] {:?}: the value of {name} is not a header value", rule.name))?;
                value.set_sensitive(true);
                Ok::<_, String>((name.clone(), value))
            };
            let headers = rule.headers.iter().map(|(name, secret)| value(name, secret)).collect::<Result<_, _>>()?;
            operation.auth = Auth::Headers(headers);
        }
        Ok(())
    }

    /// The names of all operations, some of them more than once.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_path.values().flatten().map(|(_, operation)| operation.name.as_str()).chain([OTHER])
    }

    /// Whether every pattern of every program means some operation here.
    ///
    /// # Errors
    /// A sentence naming the program and the operations there are.
    pub(crate) fn check_allowed(&self, programs: &[Program]) -> Result<(), String> {
        let mut names: Vec<_> = self.names().collect();
        names.sort_unstable();
        names.dedup();
        for program in programs {
            let means_none = |pattern: &&OperationPattern| !names.iter().any(|name| pattern.fits(name));
            if let Some(pattern) = program.operations.iter().find(means_none) {
                return Err(format!(
                    "[[program]] {:?}: operations holds {:?}, which no operation has for a name; use some of {}",
                    program.name,
                    pattern.as_str(),
                    names.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The operation of a request. `path` is as it came, without the query.
    pub(crate) fn find(&self, method: &Method, path: &str) -> &Operation {
        let path = plain(path);
        if let Some(of_path) = self.by_path.get(path.as_ref())
            && let Some((_, operation)) =
                of_path.iter().find(|(only, _)| only.as_ref().is_none_or(|only| only == method))
        {
            return operation;
        }
        if path.starts_with(CALL_CENTRE) { &self.other_call_centre } else { &self.other }
    }
}

/// The path as most servers would read it: percent escapes of plain characters, repeated slashes, `.`
/// segments and a final slash gone. So a login cannot be dressed up as another path.
fn plain(path: &str) -> Cow<'_, str> {
    let pairs = path.as_bytes().iter().zip(path.as_bytes().iter().skip(1));
    let odd = path.contains('%')
        || pairs.fold(false, |odd, (&one, &next)| odd | (one == b'/') & ((next == b'/') | (next == b'.')))
        || (path.len() > 1 && path.ends_with('/'));
    if !odd {
        return Cow::Borrowed(path);
    }
    let (mut decoded, bytes) = (Vec::with_capacity(path.len()), path.as_bytes());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| bytes.get(at + 1..at + 3).and_then(escaped)).flatten();
        decoded.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    let decoded = String::from_utf8_lossy(&decoded);
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    Cow::Owned(format!("/{}", segments.join("/")))
}

/// The character that two hexadecimal digits spell, if it is printable ASCII.
fn escaped(digits: &[u8]) -> Option<u8> {
    let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    value.is_ascii_graphic().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> String {
        let routes = Routes::try_new(&[]).expect("the table itself");
        routes.find(&method.parse().expect("a method"), path).name.clone()
    }

    #[test]
    fn the_page_lists_every_known_operation() {
        let page = include_str!("../../docs/configuration.md");
        let listed: Vec<_> = page.lines().filter(|line| line.starts_with("| `") && line.contains("` | `/")).collect();
        let known: Vec<_> = KNOWN.iter().map(|(name, path)| format!("| `{name}` | `{path}` |")).collect();
        assert_eq!(listed, known, "docs/configuration.md, [[operation]]");
    }

    #[test]
    fn a_path_decides_whatever_the_method() {
        for (method, path, name) in [
            ("POST", "/service/cloud/task", "task.create"),
            ("GET", "/service/cloud/detail", "task.detail"),
            ("POST", "/service/cloud/detail", "task.detail"),
            ("GET", "/service/cloud/details", "other"),
            ("GET", "/0f1e2d3c.mp3", "other"),
            ("GET", "/", "other"),
        ] {
            assert_eq!(found(method, path), name, "{method} {path}");
        }
    }

    #[test]
    fn a_login_is_found_however_its_path_is_dressed() {
        for path in [
            "/service/cloud/auth",
            "/service/cloud/auth/",
            "//service/cloud/auth",
            "/service/./cloud/auth",
            "/service/x/../cloud/auth",
            "/service/cloud/%61uth",
            "/service/cloud%2Fauth",
            "/service/%2e/cloud/auth",
        ] {
            assert_eq!(found("POST", path), "auth", "{path}");
        }
    }

    #[test]
    fn the_call_centre_has_its_own_tokens() {
        let routes = Routes::try_new(&[]).expect("the table itself");
        for path in ["/service/callcenter/call/predict/createtask", "/service/callcenter/call/predict/unknown"] {
            assert!(matches!(routes.find(&Method::POST, path).auth, Auth::Token(Family::CallCentre)), "{path}");
        }
    }

    fn rule(name: &str, route: Option<(Method, &str)>) -> OperationRule {
        OperationRule {
            name: name.to_owned(),
            route: route.map(|(method, path)| (method, path.to_owned())),
            sealed: Some(false),
            headers: Vec::new(),
            limit: None,
            needs_key: false,
        }
    }

    #[test]
    fn a_rule_changes_a_known_operation_or_adds_one() {
        let routes = Routes::try_new(&[
            rule("task.create", None),
            rule("plan.create", Some((Method::POST, "/service/cloud/plan"))),
        ])
        .expect("both are fine");
        assert_eq!(routes.find(&Method::POST, "/service/cloud/task").sealed, Some(false));
        assert_eq!(routes.find(&Method::POST, "/service/cloud/plan").name, "plan.create");
        assert_eq!(routes.find(&Method::GET, "/service/cloud/plan").name, "other");
    }

    #[test]
    fn rules_that_make_no_sense_are_refused_with_what_to_do() {
        for (rule, hint) in [
            (rule("task.craete", None), "use one of"),
            (rule("auth", None), "answered by the gateway"),
            (rule("mine", Some((Method::POST, "/service/cloud/task"))), "known already"),
        ] {
            let sentence = Routes::try_new(&[rule]).expect_err("refused");
            assert!(sentence.contains(hint), "{sentence}");
        }
    }
}
