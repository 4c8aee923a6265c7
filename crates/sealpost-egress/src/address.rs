//! The address rule: which IP addresses may be dialled. Pure, no IO.
//!
//! Public unicast space only. For IPv4 everything is public except the blocks listed here; for IPv6 only
//! `2000::/3` is, less the blocks listed here, so that mapped, compatible, translated and NAT64 spellings of
//! an IPv4 address fall outside without being named. The operator may allow further networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What the rule says about one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// In public unicast space.
    Public,
    /// Not public, but in a network which the operator allowed.
    Allowed,
    /// Never dialled; the text names the block.
    Refused(&'static str),
}

impl Verdict {
    pub fn may_dial(self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// Public space plus the networks the operator allowed.
#[derive(Clone, Debug, Default)]
pub struct AddressRule {
    pub allow: Vec<IpNet>,
}

impl AddressRule {
    /// Judges the address as it stands: an IPv4-mapped IPv6 address is an IPv6 address here, and a network
    /// allowed in one family says nothing about the other.
    pub fn judge(&self, address: IpAddr) -> Verdict {
        let refused = match address {
            IpAddr::V4(v4) => refused_v4(v4),
            IpAddr::V6(v6) => refused_v6(v6),
        };
        match refused {
            None => Verdict::Public,
            Some(_) if self.allow.iter().any(|net| net.contains(&address)) => Verdict::Allowed,
            Some(block) => Verdict::Refused(block),
        }
    }
}

/// IANA's special-purpose blocks, multicast and class E, plus four blocks that the registry calls global but
/// that no receiver can live in, and the one public-looking address behind which a cloud keeps its platform.
const REFUSED_V4: [(Ipv4Addr, u32, &str); 19] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private use"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared address space"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private use"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "AS112"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "multicast tunnelling"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private use"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "AS112"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "cloud platform"),
];

/// The one IPv6 block that holds public unicast addresses, and what in it is refused all the same.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const REFUSED_V6: [(Ipv6Addr, u32, &str); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol assignments"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, "AS112"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
];

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    REFUSED_V4.iter().find(|(net, length, _)| (bits ^ net.to_bits()) >> (32 - length) == 0).map(|row| row.2)
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let within = |net: Ipv6Addr, length: u32| (bits ^ net.to_bits()) >> (128 - length) == 0;
    if !within(GLOBAL_V6.0, GLOBAL_V6.1) {
        return Some("not global unicast");
    }
    REFUSED_V6.iter().find(|(net, length, _)| within(*net, *length)).map(|row| row.2)
}
