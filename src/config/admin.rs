//! What a command needs to reach the admin listener of a gateway: of its configuration, or without it.
//!
//! Owns the name of the variable that the token is taken from. It never asks a gateway anything.

use std::ffi::OsString;
use std::path::Path;

use super::error::{ConfigError, Fault};
use super::file::Reference;
use super::reference::Surroundings;
use super::table::Given;
use super::{Admin, check, file, read};
use crate::secret::Secret;

/// Holds the token for commands that are given no other.
const VARIABLE: &str = "AIRUDDER_ADMIN_TOKEN";

impl Admin {
    /// Reads `[admin]` of a file and what it refers to, and nothing else: a command that talks to a gateway needs no other
    /// secret, and the gateway says itself what is wrong with the rest.
    ///
    /// # Errors
    /// As [`Config::load`](super::Config::load), as far as it is about this section or about what is not TOML.
    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, &|name| std::env::var_os(name), file::Admin::parse)
    }

    /// The same of a file of which a part may be no TOML; what cannot be read of the section has its default.
    ///
    /// # Errors
    /// The file cannot be read, or what the section says or refers to is wrong.
    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn load_broken(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, &|name| std::env::var_os(name), file::Admin::parse_broken)
    }

    fn read(
        path: &Path,
        env: &dyn Fn(&str) -> Option<OsString>,
        parse: fn(&str) -> Result<Option<file::Admin>, Fault>,
    ) -> Result<Self, ConfigError> {
        let (text, dir) = read(path)?;
        let mut around = Surroundings { dir, env, warnings: Vec::new() };
        let admin = parse(&text).and_then(|written| check::admin(written.as_ref(), false, &mut around));
        admin.map_err(|fault| fault.locate(Some(path), &text))
    }

    /// The token in this file, or else in the variable `AIRUDDER_ADMIN_TOKEN`; `None` when there is neither.
    ///
    /// # Errors
    /// A file that cannot be read, and what cannot be a token.
    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn token_beside(file: Option<&Path>) -> Result<Option<Secret>, ConfigError> {
        let env = |name: &str| std::env::var_os(name);
        let (key, value) = match file {
            Some(file) => ("--token-file", Reference::File(file.to_string_lossy().into_owned())),
            None if env(VARIABLE).is_some() => (VARIABLE, Reference::Env(VARIABLE.to_owned())),
            None => return Ok(None),
        };
        let mut around = Surroundings { dir: Path::new("."), env: &env, warnings: Vec::new() };
        let token = around.header_secret(&Given { key: key.to_owned(), at: 0, value });
        token.map(Some).map_err(Fault::placeless)
    }
}
