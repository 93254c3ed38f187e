//! What the host refuses of every request, whatever the connection and its operations.

use std::collections::HashSet;

use super::wire;

/// Headers that only the host writes, in lower case.
const RESERVED: &[&str] = &[
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
const RESERVED_PREFIXES: &[&str] = &["proxy-", "sec-", "x-forwarded-", "keybearer-"];

/// Holds a request against these rules.
///
/// # Errors
///
/// The rule that it breaks.
pub(super) fn check(request: &wire::Request) -> Result<(), String> {
    let wire::Request { method, query, headers, body, .. } = request;
    once("query parameter", query.iter().map(|(name, _)| name.clone()))?;
    once("header", headers.iter().map(|(name, _)| name.to_ascii_lowercase()))?;
    if let Some((name, _)) = headers.iter().find(|(name, _)| is_reserved(&name.to_ascii_lowercase())) {
        return Err(format!("the header `{name}` is written by the host alone"));
    }
    match body {
        Some(_) if matches!(method.as_str(), "GET" | "HEAD") => {
            Err(format!("a {method} request has no body"))
        }
        Some(wire::Body::Form(fields)) => once("form field", fields.iter().map(|(name, _)| name.clone())),
        Some(wire::Body::Bytes(raw)) if is_looked_into(&raw.content_type) => Err(format!(
            "a body of type `{}` is given with `.json` or `.form`, not with `.bytes`",
            raw.content_type
        )),
        _ => Ok(()),
    }
}

fn once(what: &str, mut names: impl Iterator<Item = String>) -> Result<(), String> {
    let mut seen = HashSet::new();
    match names.find(|name| !seen.insert(name.clone())) {
        Some(name) => Err(format!("the {what} `{name}` is there twice")),
        None => Ok(()),
    }
}

fn is_reserved(name: &str) -> bool {
    // To servers that hand headers on as variables, `x_real_ip` is `x-real-ip`.
    name.contains('_')
        || RESERVED.contains(&name)
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the host reads bodies of this media type, and so takes them in no other way.
fn is_looked_into(content_type: &str) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let media_type = lower.split(';').next().unwrap_or_default().trim();
    matches!(media_type, "application/json" | "text/json" | "application/x-www-form-urlencoded")
        || media_type.ends_with("+json")
}
