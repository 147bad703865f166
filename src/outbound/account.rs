//! One account at work: its client, its two tokens and its cipher.
//!
//! Made once in `app`. A token obtained here is sent with this account's client only, because no other
//! way to send it exists.

use std::sync::Arc;

use http::HeaderValue;

use crate::config;
use crate::envelope::Cipher;
use crate::http::client::Client;
use crate::limit::AccountLimits;
use crate::metrics::AccountSeries;
use crate::token::{Cache, Family, HttpLogin};

/// A configured account, ready to be used.
pub(crate) struct Account {
    pub(crate) name: String,
    /// Its place in the configuration.
    pub(crate) index: usize,
    pub(crate) client: Arc<Client>,
    pub(crate) cloud: Cache<HttpLogin>,
    pub(crate) call_centre: Cache<HttpLogin>,
    pub(crate) sealing: Option<Sealing>,
    pub(crate) limits: AccountLimits,
    pub(crate) series: AccountSeries,
}

/// How an account's requests are sealed.
pub(crate) struct Sealing {
    pub(crate) cipher: Cipher,
    pub(crate) scheme: config::Scheme,
    pub(crate) content_type: HeaderValue,
    pub(crate) empty_query: config::EmptyQuery,
}

impl Account {
    /// Both token caches.
    pub(crate) fn caches(&self) -> [(&Cache<HttpLogin>, Family); 2] {
        [Family::Cloud, Family::CallCentre].map(|family| (self.tokens(family), family))
    }

    /// The token cache of a family.
    pub(crate) fn tokens(&self, family: Family) -> &Cache<HttpLogin> {
        match family {
            Family::Cloud => &self.cloud,
            Family::CallCentre => &self.call_centre,
        }
    }
}
