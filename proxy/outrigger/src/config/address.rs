//! Addresses and ports of flags.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a listener binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// All addresses, IPv6 and IPv4.
    All,
    /// One address.
    One(IpAddr),
}

impl Host {
    /// Reads an IP address, one in square brackets, `localhost`, or nothing at
    /// all for every address. Host names are not looked up at start, so that
    /// what is bound does not hang on a name server.
    pub(crate) fn parse(text: &str) -> Option<Host> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Host::All);
        }
        if text.eq_ignore_ascii_case("localhost") {
            return Some(Host::One(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().ok().map(Host::One)
    }

    /// The address to bind. [`Host::All`] is the IPv6 wildcard, which takes
    /// IPv4 as well, or the IPv4 one on a machine without IPv6.
    pub(crate) fn at(self, port: u16) -> SocketAddr {
        match self {
            Host::One(ip) => SocketAddr::new(ip, port),
            Host::All if ipv6_exists() => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
            Host::All => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
        }
    }
}

fn ipv6_exists() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// Reads a port from 0 to 65535.
pub(crate) fn port(text: &str) -> Option<u16> {
    // Stock reads it as a decimal number with an optional sign.
    text.strip_prefix('+').unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_localhost_or_everything() {
        let one = |text: &str| Some(Host::One(text.parse().unwrap()));
        assert_eq!(Host::parse(""), Some(Host::All));
        assert_eq!(Host::parse("localhost"), one("127.0.0.1"));
        assert_eq!(Host::parse(" 10.0.0.1 "), one("10.0.0.1"));
        assert_eq!(Host::parse("[::1]"), one("::1"));
        assert_eq!(Host::parse("::1"), one("::1"));
        assert_eq!(Host::parse("0.0.0.0"), one("0.0.0.0"));
        assert_eq!(Host::parse("example.org"), None);
        assert_eq!(Host::parse("127.0.0.1:80"), None);
    }

    #[test]
    fn ports_stay_in_their_range() {
        assert_eq!(port("0"), Some(0));
        assert_eq!(port("65535"), Some(65535));
        for bad in ["", "65536", "-1", "80a", "0x50", " 80"] {
            assert_eq!(port(bad), None, "{bad:?}");
        }
    }
}
