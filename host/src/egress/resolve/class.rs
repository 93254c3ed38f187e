//! What kind of address an address is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for. Requests go to [`AddressClass::Public`] ones, and to private ones that a connection names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Anywhere on the internet.
    Public,
    /// "This network" (0.0.0.0/8) and the unspecified address.
    Unspecified,
    /// This machine.
    Loopback,
    /// RFC 1918.
    Private,
    /// Shared by carriers behind NAT (100.64.0.0/10).
    SharedNat,
    /// Not routed beyond the link.
    LinkLocal,
    /// Where cloud machines get their credentials. Never allowed, whatever a connection names.
    Metadata,
    /// Many at once.
    Multicast,
    /// Everyone on the link.
    Broadcast,
    /// For examples in texts.
    Documentation,
    /// For measuring networks (198.18.0.0/15).
    Benchmark,
    /// Assigned to protocols (192.0.0.0/24, 2001::/23).
    Protocol,
    /// Assigned to nothing yet.
    Reserved,
    /// Unique-local IPv6 (fc00::/7).
    UniqueLocal,
    /// Site-local IPv6, long abolished.
    SiteLocal,
    /// An IPv4 address written as IPv6: mapped or compatible. No resolver has a reason to answer with one.
    Embedded,
    /// A NAT64 prefix for local use, or one whose IPv4 address isn't public.
    Nat64,
    /// 6to4: a tunnel to the IPv4 address inside, by whichever relay is near.
    SixToFour,
    /// Teredo: a tunnel too.
    Teredo,
    /// Thrown away by routers (100::/64).
    Discard,
}

impl AddressClass {
    /// The class of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => v6(address),
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::SharedNat => "shared NAT",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmark => "benchmarking",
            Self::Protocol => "protocol assignment",
            Self::Reserved => "reserved",
            Self::UniqueLocal => "unique-local",
            Self::SiteLocal => "site-local",
            Self::Embedded => "IPv4 written as IPv6",
            Self::Nat64 => "NAT64",
            Self::SixToFour => "6to4",
            Self::Teredo => "Teredo",
            Self::Discard => "discard",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// AWS, Azure, GCP, Oracle and others; AWS's task credentials; Alibaba's; Azure's wire server; Oracle's first one.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 169, 253),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// AWS's over IPv6, its task credentials and its time and name servers; GCP's.
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn v4(address: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&address) {
        return AddressClass::Metadata;
    }
    match address.octets() {
        [0, ..] => AddressClass::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::SharedNat,
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [192, 0, 0, _] => AddressClass::Protocol,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [192, 88, 99, _] => AddressClass::SixToFour,
        [198, 18..=19, ..] => AddressClass::Benchmark,
        [224..=239, ..] => AddressClass::Multicast,
        [255, 255, 255, 255] => AddressClass::Broadcast,
        [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn v6(address: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&address) {
        return AddressClass::Metadata;
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // Compatible (::a.b.c.d), mapped (::ffff:a.b.c.d) and translated (::ffff:0:a.b.c.d).
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => AddressClass::Embedded,
        // Networks without IPv4 of their own answer with these for public IPv4 hosts.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            match v4(Ipv4Addr::new(a, b, c, d)) {
                AddressClass::Public => AddressClass::Public,
                AddressClass::Metadata => AddressClass::Metadata,
                _ => AddressClass::Nat64,
            }
        }
        [0x64, 0xff9b, ..] => AddressClass::Nat64,
        [0x100, 0, 0, 0, ..] => AddressClass::Discard,
        [0x2001, 0, ..] => AddressClass::Teredo,
        [0x2001, 0xdb8, ..] => AddressClass::Documentation,
        [0x3fff, 0..=0xfff, ..] => AddressClass::Documentation,
        [0x2001, 0..=0x1ff, ..] => AddressClass::Protocol,
        [0x2002, ..] => AddressClass::SixToFour,
        [0xfc00..=0xfdff, ..] => AddressClass::UniqueLocal,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfec0..=0xfeff, ..] => AddressClass::SiteLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        // Global unicast is 2000::/3 and nothing else so far.
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_table() {
        use AddressClass::*;
        let table = [
            ("8.8.8.8", Public),
            ("1.1.1.1", Public),
            ("9.255.255.255", Public),
            ("11.0.0.0", Public),
            ("100.63.255.255", Public),
            ("100.128.0.0", Public),
            ("126.255.255.255", Public),
            ("128.0.0.0", Public),
            ("169.253.255.255", Public),
            ("169.255.0.0", Public),
            ("172.15.255.255", Public),
            ("172.32.0.0", Public),
            ("192.0.1.0", Public),
            ("192.167.255.255", Public),
            ("192.169.0.0", Public),
            ("198.17.255.255", Public),
            ("198.20.0.0", Public),
            ("223.255.255.255", Public),
            ("168.63.129.15", Public),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("192.168.0.0", Private),
            ("192.168.255.255", Private),
            ("100.64.0.0", SharedNat),
            ("100.127.255.255", SharedNat),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("169.254.0.1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("169.254.170.2", Metadata),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Metadata),
            ("192.0.0.1", Protocol),
            ("192.0.0.170", Protocol),
            ("192.0.2.1", Documentation),
            ("198.51.100.1", Documentation),
            ("203.0.113.1", Documentation),
            ("192.88.99.1", SixToFour),
            ("198.18.0.0", Benchmark),
            ("198.19.255.255", Benchmark),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.0", Reserved),
            ("255.255.255.254", Reserved),
            ("255.255.255.255", Broadcast),
            ("2606:4700::1111", Public),
            ("2a00:1450::1", Public),
            ("2001:4860:4860::8888", Public),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Embedded),
            ("::7f00:1", Embedded),
            ("::ffff:8.8.8.8", Embedded),
            ("::ffff:127.0.0.1", Embedded),
            ("::ffff:169.254.169.254", Embedded),
            ("::ffff:0:10.0.0.1", Embedded),
            ("64:ff9b::8.8.8.8", Public),
            ("64:ff9b::10.0.0.1", Nat64),
            ("64:ff9b::127.0.0.1", Nat64),
            ("64:ff9b::169.254.169.254", Metadata),
            ("64:ff9b:1::8.8.8.8", Nat64),
            ("64:ff9b:1:7f00::1", Nat64),
            ("100::1", Discard),
            ("2001::1", Teredo),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Teredo),
            ("2001:db8::1", Documentation),
            ("3fff::1", Documentation),
            ("2001:20::1", Protocol),
            ("2001:2::1", Protocol),
            ("2002:7f00:1::", SixToFour),
            ("2002:808:808::1", SixToFour),
            ("fc00::1", UniqueLocal),
            ("fdff::1", UniqueLocal),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
            ("fe80::1", LinkLocal),
            ("fec0::1", SiteLocal),
            ("ff02::1", Multicast),
            ("1::1", Reserved),
            ("4000::1", Reserved),
            ("5f00::1", Reserved),
        ];
        for (address, class) in table {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }
}
