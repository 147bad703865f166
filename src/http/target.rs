//! The target of a request: which path and query it asks for (RFC 9112 section 3.2).
//!
//! Only the origin form, and the absolute form for the host that was asked: others, such as `*` and an authority alone,
//! are for proxies and never reach a platform behind a gateway. It decodes nothing and repairs nothing.

use memchr::memchr;

/// The path, and what follows its first `?`. `host` is the request's own; the path is empty where the absolute form has
/// none. `None` when somebody could read it as another one.
pub(super) fn split<'a>(target: &'a str, host: Option<&[u8]>) -> Option<(&'a str, Option<&'a str>)> {
    let rest = if target.starts_with('/') { target } else { behind_authority(target, host)? };
    let (path, query) = match memchr(b'?', rest.as_bytes()) {
        None => (rest, None),
        Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
    };
    // All bytes, whatever the first ones say: without an early end the compiler compares many at once.
    let good = path.bytes().fold(true, |good, byte| good & is_of_path(byte))
        & query.is_none_or(|query| query.bytes().fold(true, |good, byte| good & is_of_query(byte)));
    good.then_some((path, query))
}

/// What follows the authority of the absolute form.
fn behind_authority<'a>(target: &'a str, host: Option<&[u8]>) -> Option<&'a str> {
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
    let rest = &target[scheme.len()..];
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let is_host = !authority.is_empty() && authority.bytes().all(is_of_host);
    // Who routes by one and who routes by the other would choose differently.
    let agrees = host.is_none_or(|host| host == authority.as_bytes());
    // A query right after the authority has no path that it belongs to.
    (is_host && agrees && (path.is_empty() || path.starts_with('/'))).then_some(path)
}

/// Whether it is the authority form, which only CONNECT has, for the host that was asked.
pub(super) fn is_authority(target: &str, host: Option<&[u8]>) -> bool {
    let port = target.rsplit_once(':').map(|(_, port)| port);
    let has_port = port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    has_port && target.bytes().all(is_of_host) && host.is_none_or(|host| host == target.as_bytes())
}

/// Whether a byte can stand in a host with its port. What cannot is user information, a second host, a path: all that
/// somebody might take for a different host.
pub(super) fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_~:[]%!$&'()*+;=".contains(&byte)
}

/// Whether a byte can stand in a path as it is. Bytes above ASCII are UTF-8 by then; some programs leave them so. Quotes
/// and braces are JSON that somebody put there.
fn is_of_path(byte: u8) -> bool {
    // All but controls, space, `#`, `<`, `>`, `?`, `` ` `` and DEL.
    (byte > b' ') & (byte != b'#') & (byte != b'<') & (byte != b'>') & (byte != b'?') & (byte != b'`') & (byte != 0x7f)
}

/// The same for a query. A fragment (`#`) is for nobody but the program itself.
fn is_of_query(byte: u8) -> bool {
    // All but controls, space, `"`, `#`, `<`, `>` and DEL.
    (byte > b' ') & (byte != b'"') & (byte != b'#') & (byte != b'<') & (byte != b'>') & (byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_can_stand_where_it_is_no_end_of_something_and_nowhere_else() {
        for byte in 0..=u8::MAX {
            let of_path = matches!(byte, 0x21 | 0x22 | 0x24..=0x3b | 0x3d | 0x40..=0x5f | 0x61..=0x7e | 0x80..);
            let of_query = matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x3f..=0x7e | 0x80..);
            assert_eq!((is_of_path(byte), is_of_query(byte)), (of_path, of_query), "{byte:#x}");
        }
    }

    #[test]
    fn a_target_is_read_from_its_path_on() {
        for (target, expected) in [
            ("/a?b=/c?d", Some(("/a", Some("b=/c?d")))),
            ("/", Some(("/", None))),
            ("/a?", Some(("/a", Some("")))),
            ("//a", Some(("//a", None))),
            ("/a{\"b\"}|^", Some(("/a{\"b\"}|^", None))),
            ("/a?b={c}`", Some(("/a", Some("b={c}`")))),
            ("/\u{e9}?\u{e9}", Some(("/\u{e9}", Some("\u{e9}")))),
            ("http://g/a?b", Some(("/a", Some("b")))),
            ("HTTP://g//a", Some(("//a", None))),
            ("http://g", Some(("", None))),
            ("http://g/", Some(("/", None))),
            ("http://g?a/b", None),
            ("http://g#a", None),
            ("http://h/a", None),
            ("http://g:80/a", None),
            ("http://G/a", None),
            ("http://user@g/a", None),
            ("http://g\\h/a", None),
            ("http:///a", None),
            ("http://", None),
            ("http:/a", None),
            ("https://g/a", None),
            ("*", None),
            ("g:443", None),
            ("a/b", None),
            ("?a", None),
            ("", None),
            ("/a#b", None),
            ("/a?b#c", None),
            ("/a<b", None),
            ("/a`b", None),
            ("/a?b=<c>", None),
            ("/a?{\"b\":1}", None),
        ] {
            assert_eq!(split(target, Some(b"g")), expected, "{target}");
        }
        for (target, expected) in [
            ("g:443", true),
            ("g:", false),
            ("g", false),
            ("h:443", false),
            ("user@g:443", false),
            ("g:443/a", false),
            ("/", false),
        ] {
            assert_eq!(is_authority(target, Some(target.replace('h', "g").as_bytes())), expected, "{target}");
        }
        assert_eq!(split("http://any/a", None), Some(("/a", None)));
        assert_eq!(split("http://user@any/a", None), None);
    }
}
