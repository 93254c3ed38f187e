//! What the host refuses of every request, whatever the connection and its operations.

use std::collections::HashSet;

use super::{path, wire};

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

/// Holds a request against these rules. Sizes aren't looked at.
///
/// # Errors
///
/// The rule that it breaks.
pub(super) fn check(request: &wire::Request) -> Result<(), String> {
    let wire::Request { method, path, query, headers, body, .. } = request;
    path::check(path)?;
    pairs("query parameter", query)?;
    headers.iter().try_for_each(|(name, value)| header(name, value))?;
    once("header", headers.iter().map(|(name, _)| name.to_ascii_lowercase()))?;
    match body {
        Some(_) if matches!(method.as_str(), "GET" | "HEAD") => {
            Err(format!("a {method} request has no body"))
        }
        Some(wire::Body::Form(fields)) => pairs("form field", fields),
        Some(wire::Body::Bytes(raw)) => media_type(&raw.content_type),
        // Once escaped backslashes are gone, this can only be a NUL.
        Some(wire::Body::Json(text)) if text.replace(r"\\", "").contains(r"\u0000") => {
            Err("a text in the JSON body holds a NUL".to_owned())
        }
        Some(wire::Body::Json(_)) | None => Ok(()),
    }
}

fn pairs(what: &str, pairs: &[(String, String)]) -> Result<(), String> {
    for (name, value) in pairs {
        if name.is_empty() {
            return Err(format!("a {what} has no name"));
        }
        if name.contains('\0') || value.contains('\0') {
            return Err(format!("the {what} `{}` holds a NUL", name.escape_debug()));
        }
    }
    once(what, pairs.iter().map(|(name, _)| name.clone()))
}

fn once(what: &str, mut names: impl Iterator<Item = String>) -> Result<(), String> {
    let mut seen = HashSet::new();
    match names.find(|name| !seen.insert(name.clone())) {
        Some(name) => Err(format!("the {what} `{name}` is there twice")),
        None => Ok(()),
    }
}

fn header(name: &str, value: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(format!("`{}` is no header's name", name.escape_debug()));
    }
    if is_reserved(&name.to_ascii_lowercase()) {
        return Err(format!("the header `{name}` is written by the host alone"));
    }
    header_value(name, value)
}

fn header_value(name: &str, value: &str) -> Result<(), String> {
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(format!("the header `{name}` holds a character other than visible ASCII"));
    }
    if value.trim() != value {
        return Err(format!("the header `{name}` starts or ends with a space"));
    }
    Ok(())
}

fn is_reserved(name: &str) -> bool {
    // To servers that hand headers on as variables, `x_real_ip` is `x-real-ip`.
    name.contains('_')
        || RESERVED.contains(&name)
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn media_type(content_type: &str) -> Result<(), String> {
    header_value("content-type", content_type)?;
    let lower = content_type.to_ascii_lowercase();
    let media_type = lower.split(';').next().unwrap_or_default().trim();
    // The host reads bodies of these types, and so takes them in no other way.
    if matches!(media_type, "application/json" | "text/json" | "application/x-www-form-urlencoded")
        || media_type.ends_with("+json")
    {
        return Err(format!(
            "a body of type `{content_type}` is given with `.json` or `.form`, not with `.bytes`"
        ));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let token = |part: &str| !part.is_empty() && part.bytes().all(fits);
    match media_type.split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) => Ok(()),
        _ => Err(format!("`{content_type}` is no media type")),
    }
}
