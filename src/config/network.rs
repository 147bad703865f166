//! Networks and addresses: who may call, whose word is believed, and what strangers can reach.
//!
//! Pure: it never resolves a name and never asks the machine for its own addresses.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::error::{Fault, quote};
use super::table::Given;

/// A list of networks; none when it is not written.
pub(super) fn networks(given: Option<&Given<Vec<Given<String>>>>) -> Result<Vec<IpNet>, Fault> {
    given.map_or(Ok(Vec::new()), |given| given.value.iter().map(network).collect())
}

/// `203.0.113.0/24`, or one address. Bits beyond the prefix are refused: they are a slip in the one or the other.
fn network(given: &Given<String>) -> Result<IpNet, Fault> {
    let written = given.value.as_str();
    let Some(network) = written.parse().ok().or_else(|| written.parse().ok().map(|one: IpAddr| IpNet::from(one)))
    else {
        return Err(given.fault(format!(
            "holds {}, which is no network; write one such as \"203.0.113.0/24\", or one address",
            quote(written)
        )));
    };
    if network.addr() != network.network() {
        return Err(given.fault(format!(
            "holds {}, which has bits beyond its prefix; write \"{}\" or correct the prefix",
            quote(written),
            network.trunc()
        )));
    }
    Ok(network)
}

/// Only this machine can reach it.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Reachable from this machine or a private network only. A wildcard may be anything, so it is not.
pub(super) fn is_inside(address: SocketAddr) -> bool {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 is shared address space, RFC 6598.
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether the second listener would find the port taken. Port 0 always finds a free one.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    // `[::]` takes IPv4 too, `0.0.0.0` all of IPv4.
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V4(wide) => wide.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(wide) => wide.is_unspecified(),
    };
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || covers(one.ip(), other.ip()) || covers(other.ip(), one.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_collide_where_the_kernel_would_refuse_the_second() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "[::1]:80", false),
        ] {
            let parse = |written: &str| written.parse().expect("an address");
            assert_eq!(collide(parse(one), parse(other)), expected, "{one} {other}");
            assert_eq!(collide(parse(other), parse(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_network_is_written_with_its_prefix_or_is_one_address() {
        let read = |written: &str| network(&Given { key: "allow".into(), at: 0, value: written.into() });
        for (written, shown) in [
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("203.0.113.7", "203.0.113.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
        ] {
            assert_eq!(read(written).expect(written).to_string(), shown);
        }
        for written in ["", "203.0.113.0/33", "203.0.113.7/24", "example.com", "203.0.113.0/24 ", "2001:db8::1/32"] {
            assert!(read(written).is_err(), "{written}");
        }
    }

    #[test]
    fn a_wildcard_and_what_the_world_can_reach_are_not_inside() {
        for (address, expected) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.1.2.3:1", true),
            ("172.31.0.1:1", true),
            ("192.168.0.1:1", true),
            ("100.127.0.1:1", true),
            ("[fd00::1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("100.128.0.1:1", false),
            ("203.0.113.1:1", false),
            ("[2001:db8::1]:1", false),
        ] {
            assert_eq!(is_inside(address.parse().expect("an address")), expected, "{address}");
        }
    }
}
