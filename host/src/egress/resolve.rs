//! Names → addresses that requests may go to.

mod class;
mod system;

pub use class::AddressClass;
pub use system::SystemResolver;

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::wire::BoxFuture;

/// The most addresses of one name that are looked at: real names have a handful.
const ANSWERS_MAX: usize = 64;

/// Looks names up. What it answers is classified before use, whoever answers.
pub trait Resolve: Send + Sync {
    /// All addresses of a name.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Which addresses one connection's requests may go to.
#[derive(Debug, Clone, Copy)]
pub struct AddressRules<'c> {
    /// Private ranges that the connection names.
    pub private: &'c [IpNet],
    /// Whether loopback is allowed.
    pub loopback: bool,
    /// Whether nothing but loopback is allowed: plain http.
    pub only_loopback: bool,
}

impl AddressRules<'_> {
    /// Whether requests may go to this address.
    ///
    /// # Errors
    /// The address's class, when they may not.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressClass> {
        let class = AddressClass::of(address);
        let named = || self.private.iter().any(|range| range.contains(&address));
        let allowed = match class {
            AddressClass::Public => !self.only_loopback,
            AddressClass::Loopback => self.loopback || (named() && !self.only_loopback),
            AddressClass::Private | AddressClass::SharedNat | AddressClass::UniqueLocal => {
                named() && !self.only_loopback
            }
            _ => false,
        };
        if allowed { Ok(()) } else { Err(class) }
    }
}

/// Whether a connection may name this range at all: it lies inside one kind of private addresses.
#[must_use]
pub(crate) fn may_be_allowed(range: &IpNet) -> bool {
    const PRIVATE: &[&str] = &[
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "::1/128",
        "fc00::/7",
    ];
    PRIVATE.iter().filter_map(|text| text.parse::<IpNet>().ok()).any(|private| private.contains(range))
}

/// An address that requests may go to.
///
/// INVARIANT (checked address): built only in this file, after its class was found to be allowed for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicAddr(SocketAddr);

impl PublicAddr {
    /// The address; its port is 0, to be filled in from the URL.
    #[must_use]
    pub fn get(self) -> SocketAddr {
        self.0
    }
}

/// Why a name brought no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// It couldn't be looked up.
    #[error("{host} can't be looked up: {cause}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// It has no address, or absurdly many.
    #[error("{host} has {count} addresses")]
    Count {
        /// The name.
        host: String,
        /// How many.
        count: usize,
    },
    /// One of its addresses is one that requests may not go to.
    #[error("{host} has the address {address} ({class}), which requests may not go to")]
    Forbidden {
        /// The name.
        host: String,
        /// The address.
        address: IpAddr,
        /// Its class.
        class: AddressClass,
    },
}

/// Looks a name up and checks every answer. One bad answer refuses the whole name: which of its addresses is used
/// later isn't ours to choose.
///
/// # Errors
/// Why there's no address to use.
pub(super) async fn resolve(
    resolver: &dyn Resolve,
    host: &str,
    rules: AddressRules<'_>,
) -> Result<Vec<PublicAddr>, ResolveError> {
    let answers =
        resolver.lookup(host).await.map_err(|cause| ResolveError::Lookup { host: host.to_owned(), cause })?;
    if !(1..=ANSWERS_MAX).contains(&answers.len()) {
        return Err(ResolveError::Count { host: host.to_owned(), count: answers.len() });
    }
    let checked = |address: IpAddr| match rules.check(address) {
        Ok(()) => Ok(PublicAddr(SocketAddr::new(address, 0))),
        Err(class) => Err(ResolveError::Forbidden { host: host.to_owned(), address, class }),
    };
    answers.into_iter().map(checked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script(Vec<&'static str>);

    impl Resolve for Script {
        fn lookup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(async { Ok(self.0.iter().map(|a| a.parse().unwrap()).collect()) })
        }
    }

    const PLAIN: AddressRules<'static> = AddressRules { private: &[], loopback: false, only_loopback: false };

    async fn resolved(answers: &[&'static str], rules: AddressRules<'_>) -> Result<usize, String> {
        let found = resolve(&Script(answers.to_vec()), "h.example", rules).await;
        found.map(|all| all.len()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn one_bad_answer_refuses_the_name() {
        assert_eq!(resolved(&["8.8.8.8", "1.1.1.1"], PLAIN).await, Ok(2));
        assert!(resolved(&["8.8.8.8", "10.0.0.1"], PLAIN).await.unwrap_err().contains("10.0.0.1"));
        assert!(resolved(&["10.0.0.1", "8.8.8.8"], PLAIN).await.is_err());
        assert!(resolved(&[], PLAIN).await.is_err());
        assert!(resolved(&["8.8.8.8"; 65], PLAIN).await.is_err());
    }

    #[test]
    fn private_ranges_only_where_they_are_named() {
        let ranges = ["10.1.0.0/16", "fd00::/8", "100.64.0.0/10"].map(|r| r.parse::<IpNet>().unwrap());
        let rules = AddressRules { private: &ranges, ..PLAIN };
        for good in ["10.1.2.3", "fd00::1", "100.64.0.1", "8.8.8.8"] {
            assert_eq!(rules.check(good.parse().unwrap()), Ok(()), "{good}");
        }
        // Metadata stays refused inside a range that is named.
        for bad in ["10.2.0.1", "fc00::1", "fd00:ec2::254", "100.100.100.200", "127.0.0.1", "::ffff:10.1.2.3"]
        {
            assert!(rules.check(bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_only_when_told() {
        let address = "127.0.0.1".parse().unwrap();
        assert_eq!(PLAIN.check(address), Err(AddressClass::Loopback));
        assert_eq!(AddressRules { loopback: true, ..PLAIN }.check(address), Ok(()));
        let ranges = ["127.0.0.0/8".parse().unwrap()];
        assert_eq!(AddressRules { private: &ranges, ..PLAIN }.check(address), Ok(()));
        let clear = AddressRules { private: &[], loopback: true, only_loopback: true };
        assert_eq!(clear.check("8.8.8.8".parse().unwrap()), Err(AddressClass::Public));
    }

    #[test]
    fn only_private_ranges_can_be_named() {
        for good in ["10.0.0.0/8", "10.1.2.0/24", "127.0.0.1/32", "fd12::/16", "100.64.0.0/10"] {
            assert!(may_be_allowed(&good.parse().unwrap()), "{good}");
        }
        for bad in
            ["0.0.0.0/0", "::/0", "169.254.0.0/16", "8.0.0.0/8", "10.0.0.0/7", "fe80::/10", "::ffff:0:0/96"]
        {
            assert!(!may_be_allowed(&bad.parse().unwrap()), "{bad}");
        }
    }
}
