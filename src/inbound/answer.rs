//! Every answer that the platform, or a stranger, reads here. All of them are fixed but those of a relay.
//!
//! They say as little as a platform needs: it looks at the status, and a stranger has nothing to learn.

use bytes::Bytes;

/// An answer.
pub(super) enum Answer {
    /// One of ours.
    Fixed(Fixed),
    /// A receiver's.
    Relayed(Box<Relayed>),
    /// Nobody is there to read one.
    None,
}

/// The answers of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    /// It is on disk, now or since an earlier try.
    Acknowledged,
    /// Not HTTP that everybody reads alike, or a body that cannot be opened.
    Unreadable,
    /// No such path, or not for this network.
    NotFound,
    /// Not a POST.
    MethodRefused,
    /// Header or body did not arrive in time.
    TimedOut,
    /// The body is over the limit.
    TooLarge,
    /// The body is compressed.
    Compressed,
    /// The header is over the limit.
    HeaderTooLarge,
    /// A bug.
    Internal,
    /// The receiver of a relay is down or speaks no HTTP.
    RelayFailed,
    /// It cannot be stored now.
    Unavailable,
    /// The receiver of a relay is late.
    RelayTimedOut,
}

/// What a receiver answered.
pub(super) struct Relayed {
    pub(super) status: u16,
    pub(super) content_type: Option<Vec<u8>>,
    /// The value of `Signed` when the body is sealed.
    pub(super) signed: Option<String>,
    pub(super) body: Bytes,
}

impl Fixed {
    /// The status.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Acknowledged => 200,
            Self::Unreadable => 400,
            Self::NotFound => 404,
            Self::MethodRefused => 405,
            Self::TimedOut => 408,
            Self::TooLarge => 413,
            Self::Compressed => 415,
            Self::HeaderTooLarge => 431,
            Self::Internal => 500,
            Self::RelayFailed => 502,
            Self::Unavailable => 503,
            Self::RelayTimedOut => 504,
        }
    }

    /// The body: JSON, and for a refusal the same for each reason that it may have.
    pub(super) fn body(self) -> &'static str {
        match self {
            Self::Acknowledged => "{}",
            Self::Unreadable => r#"{"code":400,"message":"This cannot be read."}"#,
            Self::NotFound => r#"{"code":404,"message":"There is nothing here."}"#,
            Self::MethodRefused => r#"{"code":405,"message":"Only POST is answered here."}"#,
            Self::TimedOut => r#"{"code":408,"message":"The request did not arrive in time."}"#,
            Self::TooLarge => r#"{"code":413,"message":"The body is too large."}"#,
            Self::Compressed => r#"{"code":415,"message":"Send the body without a Content-Encoding."}"#,
            Self::HeaderTooLarge => r#"{"code":431,"message":"The header is too large."}"#,
            Self::Internal => r#"{"code":500,"message":"The gateway failed."}"#,
            Self::RelayFailed => r#"{"code":502,"message":"There is no answer now."}"#,
            Self::Unavailable => r#"{"code":503,"message":"Try again later."}"#,
            Self::RelayTimedOut => r#"{"code":504,"message":"There was no answer in time."}"#,
        }
    }

    /// When it makes sense to try again, in seconds: before the platform does, which is after a minute.
    pub(super) fn retry_after(self) -> Option<u64> {
        (self == Self::Unavailable).then_some(30)
    }
}

impl Answer {
    /// The status, 0 when nothing is written.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Fixed(fixed) => fixed.status(),
            Self::Relayed(relayed) => relayed.status,
            Self::None => 0,
        }
    }
}

impl From<Fixed> for Answer {
    fn from(fixed: Fixed) -> Self {
        Self::Fixed(fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_json_that_repeats_its_status() {
        use Fixed::*;
        for fixed in [
            Unreadable,
            NotFound,
            MethodRefused,
            TimedOut,
            TooLarge,
            Compressed,
            HeaderTooLarge,
            Internal,
            RelayFailed,
            Unavailable,
            RelayTimedOut,
        ] {
            let body: serde_json::Value = serde_json::from_str(fixed.body()).expect("JSON");
            assert_eq!(body["code"], fixed.status(), "{fixed:?}");
        }
        assert_eq!(Acknowledged.body(), "{}");
    }
}
