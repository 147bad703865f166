//! Where a callback comes from, through proxies that are believed.
//!
//! Only the address decides whether a source's networks allow it, so a header that anybody can write counts only
//! where a trusted peer wrote its end. It never guesses: what cannot be read makes the origin unknown.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Most proxies in a row that are looked through.
const MOST_HOPS: usize = 16;

/// The address that a request comes from; `None` when a trusted proxy says something that cannot be read, and then
/// no network contains it. `forwarded` are the values of `X-Forwarded-For` in order.
pub(super) fn origin<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let mut from = peer;
    // From the right: each proxy appends the address it saw, so what stands left of a stranger is the stranger's word.
    for (hop, said) in forwarded.rev().flat_map(|value| value.rsplit(|&byte| byte == b',')).enumerate() {
        if !is_in(from, trusted) {
            return Some(from);
        }
        if hop == MOST_HOPS {
            return None;
        }
        from = address(said.trim_ascii())?;
    }
    Some(from)
}

/// Whether one of the networks contains it.
pub(super) fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// An address, with a port or without, IPv6 in brackets or without.
fn address(said: &[u8]) -> Option<IpAddr> {
    let said = std::str::from_utf8(said).ok()?;
    let bare = said.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match (said.parse::<IpAddr>(), said.parse::<SocketAddr>(), bare) {
        (Ok(address), ..) => address,
        (_, Ok(socket), _) => socket.ip(),
        (.., Some(bare)) => IpAddr::V6(bare.parse().ok()?),
        _ => return None,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_saw_counts() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].iter().map(|net| net.parse().expect("a network")).collect();
        let platform = Some("203.0.113.9");
        for (peer, forwarded, expected) in [
            ("203.0.113.9", &[][..], platform),
            ("203.0.113.9", &["198.51.100.1"], platform),
            ("203.0.113.9", &["garbage"], platform),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["203.0.113.9"], platform),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.9"], platform),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.9"], platform),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.1"], Some("198.51.100.1")),
            ("10.0.0.1", &["203.0.113.9, 10.9.9.9"], platform),
            ("10.0.0.1", &["203.0.113.9,10.9.9.9 , 10.8.8.8"], platform),
            ("10.0.0.1", &["10.9.9.9"], Some("10.9.9.9")),
            ("10.0.0.1", &["203.0.113.9:4711"], platform),
            ("10.0.0.1", &["[2001:db9::1]:443"], Some("2001:db9::1")),
            ("10.0.0.1", &["[2001:db9::1]"], Some("2001:db9::1")),
            ("10.0.0.1", &["::ffff:203.0.113.9"], platform),
            ("2001:db8::5", &["203.0.113.9"], platform),
            ("10.0.0.1", &["x, 203.0.113.9"], platform),
            ("10.0.0.1", &["203.0.113.9, x"], None),
            ("10.0.0.1", &["203.0.113.9, "], None),
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &["unknown"], None),
            ("10.0.0.1", &["[203.0.113.9]"], None),
            ("10.0.0.1", &["203.0.113.9, x, 10.1.1.1"], None),
        ] {
            let found = origin(peer.parse().expect("an address"), forwarded.iter().map(|v| v.as_bytes()), &trusted);
            assert_eq!(found, expected.map(|ip| ip.parse().expect("an address")), "{peer} {forwarded:?}");
        }
        let long = vec!["10.1.1.1"; 1000].join(",");
        let peer = "10.0.0.1".parse().expect("an address");
        assert_eq!(origin(peer, [long.as_bytes()].into_iter(), &trusted), None);
    }
}
