//! Who calls: the configured programs, or one anonymous one.
//!
//! A key is compared with every program's in constant time, so that the time of an answer says nothing
//! of any key. It never logs what a caller showed.

use crate::config;
use crate::secret::Secret;

/// One caller, as a call sees it.
#[derive(Debug)]
pub(crate) struct Program {
    /// Name in logs and metrics; `-` for the anonymous one.
    pub(crate) name: String,
    /// Index of the account it is bound to.
    pub(crate) account: Option<usize>,
    key: Option<Secret>,
}

/// All programs of the configuration.
#[derive(Debug)]
pub(crate) struct Programs(Vec<Program>);

impl Programs {
    /// The configured ones; none configured means one anonymous program.
    pub(crate) fn new(programs: &[config::Program]) -> Self {
        if programs.is_empty() {
            return Self(vec![Program { name: "-".to_owned(), account: None, key: None }]);
        }
        let named = |program: &config::Program| Program {
            name: program.name.clone(),
            account: program.account,
            key: Some(program.api_key.clone()),
        };
        Self(programs.iter().map(named).collect())
    }

    /// The program that showed this key, if any may call.
    pub(crate) fn find(&self, key: Option<&[u8]>) -> Option<&Program> {
        if let [anonymous @ Program { key: None, .. }] = self.0.as_slice() {
            return Some(anonymous);
        }
        let shown = Secret::new(key?);
        // No early end: every key is compared.
        self.0
            .iter()
            .fold(None, |found, program| if program.key.as_ref() == Some(&shown) { Some(program) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_key_alone() {
        let program =
            |name: &str, key: &str| config::Program { name: name.into(), api_key: Secret::new(key), account: None };
        let programs = Programs::new(&[program("a", "key-a"), program("b", "key-b")]);
        let find = |key: &str| programs.find(Some(key.as_bytes())).map(|found| found.name.as_str());
        assert_eq!(find("key-a"), Some("a"));
        assert_eq!(find("key-b"), Some("b"));
        assert_eq!(find("key-c"), None);
        assert!(programs.find(None).is_none());
    }

    #[test]
    fn without_programs_everybody_is_one() {
        let programs = Programs::new(&[]);
        assert_eq!(programs.find(None).map(|found| found.name.as_str()), Some("-"));
    }
}
