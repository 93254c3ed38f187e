//! Where an SDK puts its key, the caller puts its capability token.
//!
//! INVARIANT (never echoed): what is presented as a key may be the vendor's own, sent here by mistake. Nothing of it
//! gets into a message, a log line or a draft: it's compared with the tokens that there are, and dropped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::pairs::Pairs;
use crate::connection::{Attach, Connection};
use crate::egress::{Draft, DraftBody, canonical_path};
use crate::json;
use crate::refusal::{Code, Refusal};

/// Takes what is presented as the key, and removes it from the query where it stands there. The empty text when
/// there's none, or when there's more than one: a caller that names two keys may mean either.
///
/// A key can stand in `Authorization` (`Bearer KEY`, or `Basic` with the key as the user name), whichever way the
/// connection attaches its secret, and in the header or query parameter that the connection's secret travels in.
pub(super) fn take(
    headers: &HeaderMap,
    query: Option<&mut Pairs>,
    connection: Option<&Connection>,
) -> Zeroizing<String> {
    let attach = connection.map(|connection| &connection.attach);
    let mut found = Vec::new();
    for value in headers.get_all(AUTHORIZATION) {
        found.push(in_authorization(value, attach));
    }
    if let Some(Attach::Header { name, prefix }) = attach
        && name != AUTHORIZATION.as_str()
    {
        found.extend(headers.get_all(name).iter().map(|value| after(value, prefix)));
    }
    if let (Some(Attach::Query { name }), Some(query)) = (attach, query) {
        for (_, value) in query.extract_if(.., |(other, _)| other == name) {
            found.push(Some(Zeroizing::new(value)));
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(Some(only)), true) => only,
        _ => Zeroizing::default(),
    }
}

/// The draft, unless the caller's token stands in what would be sent of it. An agent can be talked into writing its key into a
/// description or a name, where the upstream's own readers find it; no request that is meant holds one.
///
/// # Errors
/// [`Code::InvalidRequest`].
pub(super) fn kept(draft: Draft, token: &str) -> Result<Draft, Refusal> {
    let held = |pairs: &[(String, String)]| {
        pairs.iter().any(|(name, value)| name.contains(token) || value.contains(token))
    };
    // Escapes are undone before anything is sent, and so before it's looked at. What has no one form is refused later.
    let in_path = canonical_path(&draft.path).is_ok_and(|path| path.encoded.contains(token));
    let in_body = match &draft.body {
        None => false,
        // Without an escape, what is read is what stands there.
        Some(DraftBody::Json(text)) if !text.contains('\\') && !text.contains(token) => false,
        Some(DraftBody::Json(text)) => {
            json::parse(text.as_bytes(), text.len()).is_ok_and(|value| json::text(&value).contains(token))
        }
        Some(DraftBody::Form(fields)) => held(fields),
        Some(DraftBody::Bytes { data, .. }) => memchr::memmem::find(data, token.as_bytes()).is_some(),
    };
    if in_body || in_path || held(&draft.query) || held(&draft.headers) {
        return Err(Refusal::new(
            Code::InvalidRequest,
            "the token stands in the request itself; it belongs where the SDK puts its key, and nowhere else",
        ));
    }
    Ok(draft)
}

fn in_authorization(value: &HeaderValue, attach: Option<&Attach>) -> Option<Zeroizing<String>> {
    // A vendor's own scheme, as in `Authorization: token KEY`.
    if let Some(Attach::Header { name, prefix }) = attach
        && name == AUTHORIZATION.as_str()
        && let Some(key) = after(value, prefix)
        && (prefix.is_empty() || key.len() < value.len())
        && !key.contains(' ')
    {
        return Some(key);
    }
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(Zeroizing::new(rest.to_owned()))
    } else if scheme.eq_ignore_ascii_case("basic") {
        in_basic(rest, attach)
    } else {
        None
    }
}

/// The key is the user name and the password is empty; or, where the connection's secret is the password of a user,
/// it's that user's password.
fn in_basic(encoded: &str, attach: Option<&Attach>) -> Option<Zeroizing<String>> {
    let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let key = match attach {
        Some(Attach::Basic { user: Some(known) }) if user == known => password,
        _ if password.is_empty() => user,
        _ => return None,
    };
    Some(Zeroizing::new(key.to_owned()))
}

/// A header's value without the prefix that comes before the secret, if it's there.
fn after(value: &HeaderValue, prefix: &str) -> Option<Zeroizing<String>> {
    let text = value.to_str().ok()?;
    Some(Zeroizing::new(text.strip_prefix(prefix).unwrap_or(text).to_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::connection::Connections;
    use crate::ids::Realm;

    fn taken(attach: &str, headers: &[(&str, &str)], query: &mut Pairs) -> String {
        let text = format!(
            "base_url = \"https://api.example.com\"\nsecret = \"key\"\nattach = {attach}\n\
             [operations.get]\nrequest = \"GET /x\"\neffect = \"read\"\n"
        );
        let connections = Connections::parse(&[("vendor.toml", &text)]).unwrap();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let connection = connections.get(&realm, "vendor").unwrap();
        take(&map, Some(query), Some(&connection)).as_str().to_owned()
    }

    fn from_headers(attach: &str, headers: &[(&str, &str)]) -> String {
        taken(attach, headers, &mut Pairs::new())
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    const BEARER: &str = "{ kind = \"bearer\" }";

    #[test]
    fn every_place_that_an_sdk_uses_is_looked_at() {
        let basic_user = "{ kind = \"basic\", user = \"AC1\" }";
        let header = "{ kind = \"header\", name = \"x-api-key\" }";
        let prefixed = "{ kind = \"header\", name = \"authorization\", prefix = \"token \" }";
        for (attach, name, value) in [
            (BEARER, "authorization", "Bearer kbt_1".to_owned()),
            (BEARER, "authorization", "bearer  kbt_1 ".to_owned()),
            (BEARER, "authorization", basic("kbt_1:")),
            ("{ kind = \"basic\" }", "authorization", basic("kbt_1:")),
            ("{ kind = \"basic\" }", "authorization", "Bearer kbt_1".to_owned()),
            (basic_user, "authorization", basic("AC1:kbt_1")),
            (basic_user, "authorization", basic("kbt_1:")),
            (header, "x-api-key", "kbt_1".to_owned()),
            (header, "authorization", "Bearer kbt_1".to_owned()),
            (
                "{ kind = \"header\", name = \"x-api-key\", prefix = \"key=\" }",
                "x-api-key",
                "key=kbt_1".into(),
            ),
            (prefixed, "authorization", "token kbt_1".to_owned()),
            (prefixed, "authorization", "Bearer kbt_1".to_owned()),
        ] {
            assert_eq!(from_headers(attach, &[(name, &value)]), "kbt_1", "{attach} {name}: {value}");
        }
        let mut query: Pairs = vec![("a".into(), "1".into()), ("api_key".into(), "kbt_1".into())];
        assert_eq!(taken("{ kind = \"query\", name = \"api_key\" }", &[], &mut query), "kbt_1");
        assert_eq!(query, [("a".to_owned(), "1".to_owned())], "it's gone from what is drafted");
    }

    #[test]
    fn two_keys_are_none() {
        let header = "{ kind = \"header\", name = \"x-api-key\" }";
        let bearer = ("authorization", "Bearer kbt_1");
        for (attach, headers) in [
            (BEARER, vec![bearer, bearer]),
            (BEARER, vec![bearer, ("authorization", "")]),
            (header, vec![bearer, ("x-api-key", "kbt_1")]),
            (header, vec![("x-api-key", "kbt_1"), ("x-api-key", "kbt_1")]),
            (header, vec![("authorization", "Digest x"), ("x-api-key", "kbt_1")]),
        ] {
            assert_eq!(from_headers(attach, &headers), "", "{attach} {headers:?}");
        }
        let by_query = "{ kind = \"query\", name = \"api_key\" }";
        let twice: Pairs = vec![("api_key".into(), "kbt_1".into()); 2];
        for (headers, mut query) in [(vec![], twice.clone()), (vec![bearer], twice[..1].to_vec())] {
            assert_eq!(taken(by_query, &headers, &mut query), "");
            assert!(query.is_empty(), "no key is ever drafted");
        }
    }

    #[test]
    fn nothing_else_is_taken_for_a_key() {
        for value in [
            String::new(),
            "kbt_1".to_owned(),
            "Digest kbt_1".to_owned(),
            "Basic kbt_1".to_owned(),
            "Basic".to_owned(),
            basic("kbt_1"),
            basic("kbt_1:password"),
            basic("user:kbt_1"),
            format!("Basic {}", STANDARD.encode([0xff, b':'])),
        ] {
            assert_eq!(from_headers(BEARER, &[("authorization", &value)]), "", "{value}");
        }
        for name in ["x-api-key", "proxy-authorization", "cookie", "keybearer-token"] {
            assert_eq!(from_headers(BEARER, &[(name, "kbt_1")]), "", "{name}");
        }
        assert_eq!(taken(BEARER, &[], &mut vec![("api_key".into(), "kbt_1".into())]), "");
    }
}
