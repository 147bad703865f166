//! Every answer that the gateway writes itself: one table from what happened to what a program reads.
//!
//! They look like the platform's own, so that existing error handling reads them. A message says what
//! happened and what to do; it never holds anything a caller or the platform sent.

use std::time::Duration;

use bytes::Bytes;

/// Whether the request may have reached the platform. A program repeats a call only on [`Sent::No`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It did not: the call may be repeated.
    No,
    /// It did, and the platform answered.
    Yes,
    /// It left, and no answer came: a phone may ring.
    Unknown,
}

impl Sent {
    /// The word in the answer and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}

/// Whose fault a failed call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody's: the call went well.
    None,
    /// The program has to change something.
    Program,
    /// The operator of the gateway has.
    Gateway,
    /// The platform has, or the way to it.
    Platform,
}

impl Fault {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Program => "program",
            Self::Gateway => "gateway",
            Self::Platform => "platform",
        }
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $word:literal $status:literal $sent:ident $fault:ident $message:literal;)+) => {
        /// Why the gateway answers a call itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Refusal { $($(#[$doc])* $name,)+ }

        impl Refusal {
            /// All of them, for the documentation's test.
            pub const ALL: &[Refusal] = &[$(Refusal::$name,)+];

            /// The stable word: `status` in the body and the value of `X-Gateway-Error`.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// HTTP status on the wire and `code` in the body.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// Whether the request may have reached the platform.
            pub fn sent(self) -> Sent {
                match self { $(Self::$name => Sent::$sent,)+ }
            }

            /// Whose fault it is.
            pub fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)+ }
            }

            /// What happened and what to do.
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }
        }
    };
}

refusals! {
    /// The request is not one HTTP/1.1 message that everybody reads alike.
    BadRequest = "bad_request" 400 No Program "The request is not valid HTTP/1.1 or could be read in two ways; see the detail and correct the client.";
    /// `Is-Encrypted` or `Signed` came from the program.
    AlreadySealed = "already_sealed" 400 No Program "The request is already sealed; send plain JSON or a plain query and let the gateway seal it.";
    /// GET or HEAD with a body on a sealed operation.
    BodyNotSealable = "body_not_sealable" 400 No Program "A GET or HEAD with a body cannot be sealed; move the body into the query or use POST.";
    /// The body ended before its declared length.
    BodyIncomplete = "body_incomplete" 400 No Program "The request body ended early or was badly framed; send it whole.";
    /// `X-Gateway-Deadline` is over or cannot be read.
    BadDeadline = "bad_deadline" 400 No Program "X-Gateway-Deadline is over or cannot be read; send a wait such as 2s or 500ms, or a later RFC 3339 time, or leave it out.";
    /// `Idempotency-Key` is not one.
    BadIdempotencyKey = "bad_idempotency_key" 400 No Program "Idempotency-Key is empty, stands there twice, is longer than 255 characters or holds a control character; send one key of your own for each thing to be done, bare or in quotes.";
    /// The operation requires a key.
    IdempotencyKeyMissing = "idempotency_key_missing" 400 No Program "A POST of this operation needs an Idempotency-Key; send one key of your own for each thing to be done, and the same one with each repeat.";
    /// `X-Gateway-Account` names no account.
    UnknownAccount = "unknown_account" 400 No Program "X-Gateway-Account names no configured account; leave it out or use a name from the gateway's configuration.";
    /// Programs are configured and this is none of them.
    UnknownProgram = "unknown_program" 401 No Program "The call shows neither a gateway token nor a known X-Gateway-Key; log in with the key pair that the gateway's operator issued.";
    /// A token that was not given to this program, or no longer counts.
    TokenInvalid = "token_invalid" 401 No Program "The token in Authorization is none that the gateway gave, or the key pair has changed since; log in again.";
    /// A token whose time is over.
    TokenExpired = "token_expired" 401 No Program "The gateway token is over; log in again.";
    /// A login with another pair than a program has.
    LoginRefused = "login_refused" 401 No Program "APPKey or APPSecret is missing or wrong; send the key pair that the gateway's operator issued.";
    /// The program is known and may not do this.
    OperationNotAllowed = "operation_not_allowed" 403 No Program "This program may not use this operation; ask the gateway's operator to add it to the program's operations.";
    /// CONNECT or TRACE.
    MethodRefused = "method_refused" 405 No Program "The gateway does not forward CONNECT or TRACE; use another method.";
    /// The header was not complete in time.
    HeaderTimeout = "header_timeout" 408 No Program "The request header did not arrive in time; send it at once.";
    /// The body stopped arriving.
    BodyTimeout = "body_timeout" 408 No Program "The request body stopped arriving, or came too slowly; send it without pauses.";
    /// A body that has to be held whole is over the limit.
    BodyTooLarge = "body_too_large" 413 No Program "The request body is over outbound.max_body; send less in one call or ask the operator to raise it.";
    /// The request header is over the limit.
    HeaderTooLarge = "header_too_large" 431 No Program "The request header is over outbound.max_header or has too many fields; send fewer or shorter headers.";
    /// The same key is under way.
    IdempotencyKeyInUse = "idempotency_key_in_use" 409 Unknown Program "A call with this Idempotency-Key is still under way; repeat this one with the same key after Retry-After.";
    /// An operator said so.
    AlreadySent = "already_sent" 409 Yes Program "The call with this Idempotency-Key was carried out, as the gateway's operator found out, and its answer is not known; do not send it again.";
    /// The answer was too large.
    AnswerNotKept = "answer_not_kept" 409 Yes Program "The call with this Idempotency-Key was carried out, and its answer is not remembered, because it was too large or there was no room for it; look at the platform, and do not send it again.";
    /// The same key with another body.
    IdempotencyKeyReused = "idempotency_key_reused" 422 No Program "This Idempotency-Key was used with another body; send the body of before, or a new key for a new thing.";
    /// The call cannot be served in time.
    Limited = "limited" 429 No Program "The call cannot be served in time within its limits; repeat after Retry-After, or let it wait longer with X-Gateway-Deadline.";
    /// A bug.
    Internal = "internal" 500 Unknown Gateway "The gateway failed; tell its operator the request_id.";
    /// Login refused, platform down, or logins too frequent.
    TokenUnavailable = "token_unavailable" 502 No Platform "The gateway holds no valid token and cannot get one now; repeat after Retry-After and tell the operator if it stays.";
    /// The platform refused two tokens in a row, or one for a body that could not be sent again.
    TokenRefused = "token_refused" 502 Yes Platform "The platform refused the token, and a fresh one where the call could go out again; the operator has to check the account's key pair and its rights.";
    /// No connection.
    UpstreamUnreachable = "upstream_unreachable" 502 No Platform "The platform cannot be reached; repeat later.";
    /// TLS does not verify.
    UpstreamUntrusted = "upstream_untrusted" 502 No Gateway "The platform's certificate does not verify, so nothing was sent; the operator has to check account.ca and the network.";
    /// A GET or HEAD got no answer, twice where that is allowed.
    UpstreamFailed = "upstream_failed" 502 Unknown Platform "The platform closed the connection without an answer; the call changes nothing, so it may be repeated.";
    /// A call that may have had an effect got no answer.
    OutcomeUnknown = "outcome_unknown" 502 Unknown Platform "The request left and no answer came, so it may have taken effect; check at the platform before repeating it.";
    /// What came back is not HTTP or could not be opened.
    AnswerUnreadable = "answer_unreadable" 502 Yes Platform "The platform's answer could not be opened; the request arrived, so check at the platform before repeating it, and tell the operator.";
    /// A sealed answer is over the limit.
    AnswerTooLarge = "answer_too_large" 502 Yes Platform "The platform's sealed answer is over outbound.max_answer; ask for less or ask the operator to raise it.";
    /// A held answer ended early.
    AnswerCut = "answer_cut" 502 Yes Platform "The platform's answer ended early; the request arrived, so check at the platform before repeating it.";
    /// The memory budget is used up.
    Busy = "busy" 503 No Gateway "The memory for bodies in flight is used up; repeat after Retry-After.";
    /// Where keys are kept there is no store, or it does not work.
    KeysUnavailable = "keys_unavailable" 503 No Gateway "The Idempotency-Key cannot be kept now, so nothing was sent; repeat after Retry-After, and tell the operator if it stays.";
    /// The process before this one still has the keys.
    Upgrading = "upgrading" 503 No Gateway "The gateway is being upgraded, and another process of it still ends its calls with an Idempotency-Key; nothing was sent, so repeat after Retry-After with the same key.";
    /// The platform failed several times in a row.
    BreakerOpen = "breaker_open" 503 No Platform "The platform could not be reached several times in a row, so nothing is sent for a while; repeat after Retry-After.";
    /// A GET or HEAD got no answer in time.
    UpstreamTimeout = "upstream_timeout" 504 Unknown Platform "The platform did not answer in time; the call changes nothing, so it may be repeated.";
}

/// A refusal with what only this call knows.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// Which row of the table.
    pub refusal: Refusal,
    /// When it makes sense to try again.
    pub retry_after: Option<Duration>,
    /// A fixed sentence that narrows the message down.
    pub detail: Option<&'static str>,
    /// The `code` of the call centre's answers where it has one of its own for this, in place of the status. Its clients
    /// look there.
    pub call_centre_code: Option<u16>,
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, retry_after: None, detail: None, call_centre_code: None }
    }
}

impl Reply {
    /// Seconds for `Retry-After`, rounded up and at least one.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// The body: `{"code","status","message","data","sent","request_id"}`. `sent` is what this call knows,
    /// which can be more than the table does.
    pub fn body(&self, request_id: &str, sent: Sent) -> Bytes {
        let refusal = self.refusal;
        let mut message = refusal.message().to_owned();
        if let Some(detail) = self.detail {
            message.push_str(" Detail: ");
            message.push_str(detail);
            message.push('.');
        }
        let body = serde_json::json!({
            "code": self.call_centre_code.unwrap_or(refusal.status()),
            "status": refusal.word(),
            "message": message,
            "data": null,
            "sent": sent.as_str(),
            "request_id": request_id,
        });
        Bytes::from(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_stable_words_and_messages_are_sentences() {
        for (i, refusal) in Refusal::ALL.iter().enumerate() {
            let word = refusal.word();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
            assert!(Refusal::ALL[..i].iter().all(|other| other.word() != word), "{word} twice");
            assert!(
                refusal.message().ends_with('.') && refusal.message().contains(';') || *refusal == Refusal::Internal,
                "{word}"
            );
            assert!((400..600).contains(&refusal.status()), "{word}");
        }
    }

    #[test]
    fn every_word_is_documented_with_its_status_and_sent() {
        let page = include_str!("../docs/errors.md");
        for refusal in Refusal::ALL {
            let row = format!("| `{}` | {} | {} |", refusal.word(), refusal.status(), refusal.sent().as_str());
            assert!(page.contains(&row), "docs/errors.md lacks the row {row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, Refusal::ALL.len(), "docs/errors.md has rows that no code gives");
    }

    #[test]
    fn every_word_is_one_that_is_counted() {
        let counted = crate::metrics::catalogue::find("refusals_total").expect("the series").labels[0].values;
        let crate::metrics::catalogue::Values::Closed(counted) = counted else { panic!("a closed list") };
        assert_eq!(counted, Refusal::ALL.iter().map(|refusal| refusal.word()).collect::<Vec<_>>());
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (wait, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_001, 60)] {
            let reply = Reply { retry_after: Some(Duration::from_millis(wait)), ..Refusal::Busy.into() };
            assert_eq!(reply.retry_after_seconds(), Some(expected), "{wait} ms");
        }
    }
}
