//! What a configuration refers to: environment variables and files.
//!
//! The only place that reads secrets from outside. Its sentences never hold what it read; a path or a
//! variable's name is shown only where it cannot be a secret written in the wrong place.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::authorities::Authorities;
use super::error::Fault;
use super::file::Reference;
use super::table::Given;
use crate::secret::Secret;

/// Largest configuration in bytes: far beyond a real one, so that a wrong path cannot fill the memory.
const MAX_TEXT: usize = 1024 * 1024;
/// Largest secret in bytes: a header value or a key, never a document.
const MAX_SECRET: usize = 16 * 1024;
/// Largest PEM file in bytes; a system's whole bundle of certificate authorities has a quarter of a MiB.
const MAX_PEM: usize = 4 * 1024 * 1024;

/// Where references lead.
pub(super) struct Surroundings<'a> {
    /// Relative paths start here.
    pub(super) dir: &'a Path,
    pub(super) env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Legal but unwise values, as they are met.
    pub(super) warnings: Vec<Fault>,
}

impl Surroundings<'_> {
    /// Fetches a secret that is not empty. One line break at the end of a file is not part of it.
    pub(super) fn secret(&mut self, given: &Given<Reference>) -> Result<Secret, Fault> {
        let bytes = match &given.value {
            Reference::Env(name) => self.variable(given, name)?,
            Reference::File(path) => self.secret_file(given, path)?,
        };
        let secret = Secret::new(bytes);
        if secret.is_empty() {
            return Err(given.fault("is empty; put the secret where this line says"));
        }
        Ok(secret)
    }

    /// A secret that goes into JSON: text without control characters.
    pub(super) fn text_secret(&mut self, given: &Given<Reference>) -> Result<Secret, Fault> {
        let secret = self.secret(given)?;
        match secret.expose_str() {
            Some(text) if !text.chars().any(char::is_control) => Ok(secret),
            _ => Err(given.fault("must be UTF-8 text without line breaks and control characters; correct it")),
        }
    }

    /// A secret that goes into a header: visible ASCII, spaces only inside, because parsers trim the ends.
    pub(super) fn header_secret(&mut self, given: &Given<Reference>) -> Result<Secret, Fault> {
        let secret = self.secret(given)?;
        let bytes = secret.expose();
        let visible = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
        if visible && !bytes.starts_with(b" ") && !bytes.ends_with(b" ") {
            Ok(secret)
        } else {
            Err(given
                .fault("must be visible ASCII without line breaks and outer spaces to fit into a header; correct it"))
        }
    }

    /// A PEM file that holds at least one usable certificate.
    pub(super) fn ca(&self, given: &Given<String>) -> Result<Authorities, Fault> {
        let path = self.dir.join(&given.value);
        let pem = read_pem(&path).map_err(|why| given.fault(format!("cannot be read from {path:?}: {why}")))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            if certificate.ok().and_then(|certificate| roots.add(certificate).ok()).is_none() {
                return Err(given.fault(format!(
                    "names {path:?}, where a certificate is damaged; write the authority's PEM file anew"
                )));
            }
        }
        if roots.is_empty() {
            return Err(given
                .fault(format!("names {path:?}, which holds no certificate; name a PEM file with BEGIN CERTIFICATE")));
        }
        Ok(Authorities::new(path, &pem))
    }

    fn variable(&self, given: &Given<Reference>, name: &str) -> Result<Vec<u8>, Fault> {
        if !is_variable(name) {
            return Err(given.fault("names no possible environment variable; use letters, digits and _ only"));
        }
        match (self.env)(name) {
            Some(value) => Ok(value.into_encoded_bytes()),
            None if is_plainly_a_name(name) => Err(given.fault(format!(
                "needs the environment variable {name}, which is not set; set it before the gateway starts"
            ))),
            None => Err(given.fault("names an environment variable that is not set; set it before the gateway starts")),
        }
    }

    fn secret_file(&mut self, given: &Given<Reference>, path: &str) -> Result<Vec<u8>, Fault> {
        let unreadable = |error: io::Error| {
            given.fault(format!(
                "names a file that cannot be read: {} (relative paths start at {:?})",
                reason(&error),
                self.dir
            ))
        };
        let path = self.dir.join(path);
        let bytes = File::open(&path).and_then(|file| read_bounded(file, MAX_SECRET)).map_err(unreadable)?;
        let bytes = Zeroizing::new(bytes);
        let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        self.warn_of_readers(given, &path);
        // A copy of its length: what it was read into has room for the largest, and is wiped.
        Ok(line.unwrap_or(&bytes).to_vec())
    }

    /// Warns when others than its owner may open a file that holds a secret. A credential of systemd is for the service
    /// alone, whatever its mode says: where it is given by an access list, the group's bits show the list's mask.
    pub(super) fn warn_of_readers<T>(&mut self, given: &Given<T>, path: &Path) {
        if (self.env)("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.starts_with(Path::new(&folder))) {
            return;
        }
        let Ok(metadata) = path.metadata() else { return };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            self.warnings.push(given.fault(format!(
                "names a file that other users may open (mode {mode:04o}); make it the gateway's own with chmod 600"
            )));
        }
    }
}

/// A PEM file as it is. The refusal says why and what to do.
pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, &'static str> {
    File::open(path).and_then(|file| read_bounded(file, MAX_PEM)).map_err(|error| reason(&error))
}

/// The text of the configuration itself. The refusal says why and what to do.
pub(super) fn read_text(path: &Path) -> Result<String, &'static str> {
    let bytes = File::open(path).and_then(|file| read_bounded(file, MAX_TEXT)).map_err(|error| reason(&error))?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text; save it as UTF-8")
}

/// Reads to the end, into one allocation: a buffer that grew would leave copies of a secret behind.
fn read_bounded(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(limit + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large"));
    }
    Ok(bytes)
}

/// Why a file cannot be read, and what to do.
fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; create it or correct the path",
        io::ErrorKind::PermissionDenied => "permission denied; let the gateway's user read it",
        io::ErrorKind::IsADirectory => "it is a directory; name a file in it",
        io::ErrorKind::FileTooLarge => "it is far too large; correct the path",
        _ => "reading failed; check the path and the disk",
    }
}

/// What a shell accepts as the name of a variable.
fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Looks like `AIRUDDER_APP_KEY`. Anything else may be a secret that was written in the place of a name.
fn is_plainly_a_name(name: &str) -> bool {
    name.len() <= 64
        && name.contains('_')
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_variable_is_ever_shown() {
        for (name, possible, shown) in [
            ("AIRUDDER_APP_KEY", true, true),
            ("_X", true, true),
            ("airudder_key", true, false),
            ("airudderredduria", true, false),
            ("AIRUDDERREDDURIA", true, false),
            ("9LIVES_", false, true),
            ("", false, false),
            ("A B", false, false),
            ("A=B", false, false),
        ] {
            assert_eq!(is_variable(name), possible, "{name}");
            assert_eq!(is_plainly_a_name(name), shown, "{name}");
        }
    }

    #[test]
    fn of_a_file_nothing_is_kept_but_the_secret() {
        let name = format!("airudder-secret-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut around = Surroundings { dir: Path::new("/"), env: &|_| None, warnings: Vec::new() };
        let given = Given { key: "api_key".to_owned(), at: 0, value: Reference::File(String::new()) };
        for (written, secret) in [
            ("a key", "a key"),
            ("a key\n", "a key"),
            ("a key\r\n", "a key"),
            ("a key\n\n", "a key\n"),
            ("a key\r", "a key\r"),
            ("\n", ""),
        ] {
            std::fs::write(&path, written).expect("a file");
            let kept = around.secret_file(&given, path.to_str().expect("text"));
            let kept = kept.unwrap_or_else(|_| panic!("{written:?} can be read"));
            assert_eq!((kept.as_slice(), kept.capacity()), (secret.as_bytes(), secret.len()), "{written:?}");
        }
        std::fs::remove_file(&path).expect("it is there");
    }
}
