//! What the host refuses of every request, whatever the connection and its operations.

use std::collections::HashSet;

use serde_json::Value;

use super::{path, wire};

/// How deep objects and lists of a JSON body may be nested.
const DEPTH_MAX: u32 = 32;

/// The longest media type with its parameters, in bytes.
const MEDIA_TYPE_BYTES_MAX: usize = 512;

/// The most parameters of a media type.
const PARAMETERS_MAX: usize = 8;

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

/// Holds a request against these rules. The sizes of paths, queries and bodies aren't looked at. A null, which some connections
/// take and others refuse, is told on the test's standard error.
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
        Some(wire::Body::Json(text)) => {
            if let Some(place) = json(text)? {
                eprintln!(
                    "{method} {path} sends null at `{place}` of its body: the host refuses that unless the connection \
                     declares it there with `nullable = true`"
                );
            }
            Ok(())
        }
        None => Ok(()),
    }
}

/// Checks a JSON body, and says where it holds its first null.
fn json(text: &str) -> Result<Option<String>, String> {
    // Once escaped backslashes are gone, this can only be a NUL.
    if text.replace(r"\\", "").contains(r"\u0000") {
        return Err("a text in the JSON body holds a NUL".to_owned());
    }
    let body: Value = serde_json::from_str(text).map_err(|error| format!("the body isn't JSON: {error}"))?;
    if !body.is_object() && !body.is_array() {
        return Err("the JSON body is neither an object nor a list".to_owned());
    }
    null("", &body, 0)
}

/// Where the first null is within a value that so many objects and lists are around.
fn null(at: &str, value: &Value, depth: u32) -> Result<Option<String>, String> {
    let mut first = None;
    match value {
        Value::Null => first = Some(at.to_owned()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => {
            return Err(format!("the JSON body is nested deeper than {DEPTH_MAX} levels"));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = format!("{at}[{index}]");
                if item.is_null() {
                    return Err(format!(
                        "`{at}` of the JSON body is null: no connection takes a null in a list"
                    ));
                }
                first = first.or(null(&at, item, depth + 1)?);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                first = first.or(null(&at, value, depth + 1)?);
            }
        }
    }
    Ok(first)
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
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    // The host reads bodies of these types, and so takes them in no other way.
    if matches!(media_type.as_str(), "application/json" | "text/json" | "application/x-www-form-urlencoded")
        || media_type.ends_with("+json")
    {
        return Err(format!(
            "a body of type `{content_type}` is given with `.json` or `.form`, not with `.bytes`"
        ));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let token = |part: &str| !part.is_empty() && part.bytes().all(fits);
    match media_type.split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) => {}
        _ => return Err(format!("`{content_type}` is no media type")),
    }
    let mut names = Vec::new();
    for part in parts {
        names.push(parameter(part).ok_or_else(|| {
            format!("`{content_type}` has a parameter that isn't `NAME=VALUE`, or has in quotes what isn't taken there")
        })?);
    }
    if content_type.len() > MEDIA_TYPE_BYTES_MAX || names.len() > PARAMETERS_MAX {
        return Err(format!(
            "the media type is longer than {MEDIA_TYPE_BYTES_MAX} bytes, or has more than {PARAMETERS_MAX} parameters"
        ));
    }
    once("media type's parameter", names.into_iter())
}

/// The name of a media type's parameter, in lower case. In quotes there's no quote, backslash, comma or semicolon, nor the name
/// of a type that the host reads itself.
fn parameter(part: &str) -> Option<String> {
    let (name, value) = part.split_once('=')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let token = |text: &str| !text.is_empty() && text.bytes().all(fits);
    let fits = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => !quoted.contains(['"', '\\', ',']),
        None => token(value),
    };
    let lower = value.to_ascii_lowercase();
    let is_read = lower.contains('/') && (lower.contains("json") || lower.contains("urlencoded"));
    (fits && !is_read && token(name)).then(|| name.to_ascii_lowercase())
}
