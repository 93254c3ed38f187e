//! The headers that a guest may give.

use http::{HeaderName, HeaderValue};

use super::shown;
use crate::connection::Connection;

/// The most headers that a guest may give: no API wants more than a handful.
const HEADERS_MAX: usize = 32;
/// The longest value, in bytes: half of what common servers take for one header.
const VALUE_BYTES_MAX: usize = 4_096;

/// Headers that carry credentials, name the host, or frame, route or rewrite the request, in lower case. The host
/// writes them, or nobody does: no guest, no constant header and no allow-list can name one.
const NEVER: &[&str] = &[
    "accept-encoding",
    "authorization",
    "cf-connecting-ip",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-ip",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Whole families of such headers.
const NEVER_PREFIXES: &[&str] = &["proxy-", "sec-", "x-forwarded-", "keybearer-"];

/// Whether only the host may write this header. The name is in lower case.
#[must_use]
pub(crate) fn is_reserved(name: &str) -> bool {
    // Servers that hand headers on as variables can't tell `x_real_ip` from `x-real-ip`.
    name.contains('_')
        || NEVER.contains(&name)
        || NEVER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Checks a guest's headers and brings them into one order.
///
/// # Errors
/// The rule that is broken, and the header's name.
pub(super) fn canonical_headers(
    given: &[(String, String)],
    connection: &Connection,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    if given.len() > HEADERS_MAX {
        return Err(format!("there are more than {HEADERS_MAX} headers"));
    }
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(given.len());
    for (name, value) in given {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("the header name {} isn't valid", shown(name)))?;
        let lower = parsed.as_str();
        let by_host = connection.attach.header_name() == Some(lower)
            || connection.constant_headers.iter().any(|(constant, _)| *constant == parsed);
        if by_host || is_reserved(lower) {
            return Err(format!("the header {lower} is written by the host alone"));
        }
        if !connection.request_headers.iter().any(|allowed| allowed == lower) {
            return Err(format!(
                "the header {lower} isn't one that the connection {} allows",
                connection.name
            ));
        }
        if headers.iter().any(|(other, _)| *other == parsed) {
            return Err(format!("the header {lower} is there twice"));
        }
        let value = header_value(lower, value)?;
        headers.push((parsed, value));
    }
    headers.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    Ok(headers)
}

/// Visible ASCII and single spaces inside, nothing else: no line end can start another header.
pub(crate) fn header_value(name: &str, value: &str) -> Result<HeaderValue, String> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("the header {name} is longer than {VALUE_BYTES_MAX} bytes"));
    }
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(format!("the header {name} holds a character other than visible ASCII"));
    }
    if value.trim() != value {
        return Err(format!("the header {name} starts or ends with a space"));
    }
    HeaderValue::from_str(value).map_err(|_| format!("the header {name} has a value that isn't valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names() {
        for name in
            ["authorization", "host", "proxy-authorization", "x-forwarded-for", "x_anything", "te", "cookie"]
        {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["accept", "idempotency-key", "stripe-version", "x-github-api-version"] {
            assert!(!is_reserved(name), "{name}");
        }
        assert!(NEVER.is_sorted());
        // The guest SDK's scripted upstream refuses them too, by a list of its own.
        let sdk = include_str!("../../../../guest-sdk/src/testing/refused.rs");
        for name in NEVER.iter().chain(NEVER_PREFIXES) {
            assert!(sdk.contains(&format!("\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn values_hold_no_line_ends() {
        for bad in ["a\r\nx: y", "a\n", "\0", "é", " a", "a ", "\ta"] {
            assert!(header_value("accept", bad).is_err(), "{bad:?}");
        }
        assert!(header_value("accept", "").is_ok());
    }
}
