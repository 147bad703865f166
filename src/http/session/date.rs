//! The `Date` of answers, written anew once a second.
//!
//! It is a text of one connection, so nothing is shared and nothing waits.

use crate::clock;

/// The `Date` of answers (RFC 9110 section 6.6.1), written anew once a second.
#[derive(Default)]
pub(super) struct Date {
    second: u64,
    text: String,
}

impl Date {
    /// As it stands in a header at present.
    pub(super) fn now(&mut self) -> &[u8] {
        let second = clock::wall_millis() / 1000;
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            let _ = clock::write_http_date(second, &mut self.text);
        }
        self.text.as_bytes()
    }
}
