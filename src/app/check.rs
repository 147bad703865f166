//! What is wrong with a configuration beyond its text: operations that nobody knows, keys that do not fit.
//!
//! It opens nothing and changes nothing, so that `check` may ask it, and so that a configuration that it refuses leaves the
//! present one as it is.

use http::HeaderValue;

use super::StartError;
use crate::config::{self, Config};
use crate::envelope::Cipher;
use crate::outbound::account::Sealing;
use crate::outbound::route::Routes;

/// What a checked configuration brings.
pub(crate) struct Checked {
    pub(super) routes: Routes,
    /// Of each account, in their order.
    pub(super) sealings: Vec<Option<Sealing>>,
}

/// Everything that is wrong with a configuration beyond its text.
///
/// # Errors
/// One sentence that says what to do.
pub(crate) fn check(config: &Config) -> Result<Checked, StartError> {
    let routes = Routes::try_new(&config.operations).map_err(StartError)?;
    routes.check_allowed(&config.programs).map_err(StartError)?;
    let sealings = config.accounts.iter().map(|account| sealing(account, config)).collect::<Result<_, _>>()?;
    Ok(Checked { routes, sealings })
}

fn sealing(account: &config::Account, config: &Config) -> Result<Option<Sealing>, StartError> {
    let Some(encryption) = &account.encryption else {
        let sealed = config.operations.iter().find(|rule| rule.sealed == Some(true));
        return match sealed {
            // What should be sealed must never leave plain.
            Some(rule) => Err(StartError(format!(
                "[[operation]] {:?} asks for encryption, but account {:?} has none; give the account a key",
                rule.name, account.name
            ))),
            None => Ok(None),
        };
    };
    let cipher = Cipher::try_new(&encryption.scheme, &encryption.key)
        .map_err(|error| StartError(format!("account {:?}: {error}", account.name)))?;
    let content_type = HeaderValue::from_str(&encryption.content_type).map_err(|_| {
        StartError(format!("account {:?}: content_type is not a header value; write a media type", account.name))
    })?;
    Ok(Some(Sealing { cipher, scheme: encryption.scheme.clone(), content_type, empty_query: encryption.empty_query }))
}
