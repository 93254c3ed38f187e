//! Where a connection's requests go.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::Url;

use crate::egress::{AddressRules, canonical_path};

/// A checked base URL: scheme, host, port and a path prefix, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    host: String,
    address: Option<IpAddr>,
    port: u16,
    path_prefix: String,
}

/// How the upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// In clear, to loopback only, where the connection says `allow_insecure_loopback = true`.
    Http,
}

impl Scheme {
    /// `https` or `http`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

impl BaseUrl {
    /// How the upstream is spoken to.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host as it stands in a URL: a name in lower case, or an address (IPv6 in brackets).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host as an address, when it is one. Such a host is never looked up.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What comes before every path: empty, or `/…` without a slash at its end.
    #[must_use]
    pub fn path_prefix(&self) -> &str {
        &self.path_prefix
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        let default = match self.scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
        };
        if self.port != default {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path_prefix)
    }
}

impl BaseUrl {
    /// Checks a base URL.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn parse(text: &str, insecure: bool, private: &[IpNet]) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("isn't a URL: {error}"))?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            other => return Err(format!("must start with https://, not {other}://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password: secrets live in the vault".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not hold a query or a fragment".into());
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("has no host")?.to_owned();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if address.is_none() && !is_name(&host) {
            return Err(format!("{host:?} isn't a host name"));
        }
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("has no port")?;
        let path = canonical_path(url.path())?.encoded;
        let base = Self { scheme, host, address, port, path_prefix: path.trim_end_matches('/').to_owned() };
        // One spelling only: a URL library's reading of `0x7f.1` or `EXAMPLE.com` shouldn't surprise anyone.
        if base.to_string() != text.trim_end_matches('/') {
            return Err(format!("must be written in its plain form: {base}"));
        }
        if scheme == Scheme::Http && !insecure {
            return Err("must start with https:// (http:// goes to loopback only, and only with \
                        allow_insecure_loopback = true)"
                .into());
        }
        if scheme == Scheme::Http && address.is_none() && base.host != "localhost" {
            return Err("http:// goes to loopback only: write 127.0.0.1, [::1] or localhost".into());
        }
        if let Some(address) = address {
            let rules = AddressRules { private, loopback: insecure, only_loopback: scheme == Scheme::Http };
            rules.check(address).map_err(|class| {
                format!("points at an address that requests may not go to ({}: {class})", base.host)
            })?;
        }
        Ok(base)
    }
}

/// A host name: labels of letters, digits and hyphens.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_urls_are_taken() {
        for text in [
            "https://api.stripe.com",
            "https://h.example:8443/api/v3",
            "https://8.8.8.8",
            "https://[2606:4700::1]",
        ] {
            let base = BaseUrl::parse(text, false, &[]).unwrap();
            assert_eq!(base.to_string(), text);
        }
        assert_eq!(BaseUrl::parse("https://h.example/api/", false, &[]).unwrap().path_prefix(), "/api");
        assert!(BaseUrl::parse("http://127.0.0.1:8420", true, &[]).is_ok());
        assert!(BaseUrl::parse("http://localhost:8420", true, &[]).is_ok());
        assert!(BaseUrl::parse("https://10.1.2.3", false, &["10.1.0.0/16".parse().unwrap()]).is_ok());
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "api.stripe.com",
            "ftp://h.example",
            "file:///etc/passwd",
            "http://h.example",
            "https://u@h.example",
            "https://u:p@h.example",
            "https://h.example?a=b",
            "https://h.example#x",
            "https://h.example/a/../b",
            "https://h.example//a",
            "https://h.example/%2e%2e",
            "https://H.example",
            "https://0x7f.1",
            "https://2130706433",
            "https://127.1",
            "https://127.0.0.1",
            "https://10.1.2.3",
            "https://169.254.169.254",
            "https://[::1]",
            "https://[::ffff:8.8.8.8]",
            "https://h_x.example",
            "https://h.example.",
            "https://-h.example",
            "https://h.example:0",
            "https://h.example:443",
            "http://127.0.0.1:8420",
            "https://münchen.example",
            " https://h.example",
            "https:h.example",
        ] {
            assert!(BaseUrl::parse(text, false, &[]).is_err(), "{text:?} was taken");
        }
        for text in ["http://h.example", "http://10.1.2.3", "http://8.8.8.8", "https://169.254.169.254"] {
            let private = ["10.1.0.0/16".parse().unwrap()];
            assert!(BaseUrl::parse(text, true, &private).is_err(), "{text:?} was taken");
        }
    }
}
