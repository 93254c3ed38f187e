//! An SDK's request → a draft: the same that a tool would hand over.
//!
//! A tool gives the headers it means; an SDK sends many that it doesn't mean for anyone: what it's called, what it can
//! decompress, a random idempotency key. Those are left out. What would change the meaning of the request and isn't
//! let through by the connection is refused: leaving it out would do something other than what was asked for.

use axum::body::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method};

use super::pairs::{self, Pairs};
use crate::connection::Connection;
use crate::egress::{Draft, DraftBody, FORM, is_json};
use crate::refusal::{Code, Refusal};

/// Headers that make another request of the one that they stand on, in lower case: preconditions, another method or path,
/// another reading of the body.
const MEANINGFUL: &[&str] = &[
    "content-encoding",
    "content-range",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
];

/// Headers that say for whom a request is made, in lower case, each with whose API reads it. Without it the request would
/// be made for whomever the key belongs to.
const ACCOUNTS: &[&str] = &[
    "as-user",                  // Box
    "callerobjectid",           // Microsoft Dataverse
    "dropbox-api-select-admin", // Dropbox, for teams
    "dropbox-api-select-user",  // Dropbox, for teams
    "login-customer-id",        // Google Ads
    "mscrmcallerid",            // Microsoft Dataverse
    "on-behalf-of",             // SendGrid
    "openai-organization",      // OpenAI
    "openai-project",           // OpenAI
    "paypal-auth-assertion",    // PayPal
    "stripe-account",           // Stripe
    "stripe-context",           // Stripe
    "sudo",                     // GitLab
    "x-goog-user-project",      // Google Cloud: who pays
    "x-grafana-org-id",         // Grafana
    "x-mailgun-on-behalf-of",   // Mailgun
    "x-vault-namespace",        // HashiCorp Vault
    "xero-tenant-id",           // Xero
];

/// How the names of such headers begin where there's a family of them: Kubernetes' `Impersonate-User`, `-Group`, `-Uid` and
/// `-Extra-…`.
const ACCOUNT_PREFIX: &str = "impersonate-";

/// The usual name of the header with a key that makes a write happen once. SDKs put a random one on every write, and
/// another one on the same write when a model repeats it: it says nothing about what is meant.
const IDEMPOTENCY: &str = "idempotency-key";

/// A request as it came in.
pub(super) struct Given<'r> {
    /// The connection's name.
    pub(super) connection: String,
    /// The method.
    pub(super) method: &'r Method,
    /// The path below the connection's name.
    pub(super) path: String,
    /// The query, without a key.
    pub(super) query: Pairs,
    /// All headers.
    pub(super) headers: &'r HeaderMap,
    /// The whole body.
    pub(super) body: Bytes,
}

/// What a body says it is.
#[derive(Debug, PartialEq, Eq)]
struct MediaType {
    /// Without parameters, in lower case.
    essence: String,
    /// As it was given.
    whole: String,
}

/// The draft of a request to this connection; to none, where there's none: it gets as far as being on record.
///
/// # Errors
/// [`Code::InvalidRequest`] when a header would change what the request means and isn't let through, or when the body
/// can't be read as what it says it is.
pub(super) fn draft(given: Given<'_>, connection: Option<&Connection>) -> Result<Draft, Refusal> {
    Ok(Draft {
        headers: headers(given.headers, connection)?,
        body: body(given.method, media_type(given.headers)?, given.body)?,
        connection: given.connection,
        method: given.method.as_str().to_owned(),
        path: given.path,
        query: given.query,
    })
}

fn body(method: &Method, media_type: Option<MediaType>, body: Bytes) -> Result<Option<DraftBody>, Refusal> {
    let Some(media_type) = media_type else {
        return match body.is_empty() {
            true => Ok(None),
            false => Err(invalid("the body has no Content-Type that would say what it is")),
        };
    };
    if media_type.essence == FORM {
        // An SDK sends an empty form where all fields are optional; one that always names the type means nothing by
        // it where a request has no body.
        if body.is_empty() && !matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            return Ok(None);
        }
        return Ok(Some(DraftBody::Form(pairs::decode("form", text(&body)?)?)));
    }
    if body.is_empty() {
        return Ok(None);
    }
    if is_json(&media_type.essence) {
        return Ok(Some(DraftBody::Json(text(&body)?.to_owned())));
    }
    Ok(Some(DraftBody::Bytes { content_type: media_type.whole, data: body }))
}

/// The headers that are handed on: those that the connection lets through, without the key and without an
/// idempotency key.
fn headers(given: &HeaderMap, connection: Option<&Connection>) -> Result<Vec<(String, String)>, Refusal> {
    let mut handed_on = Vec::new();
    let Some(connection) = connection else { return Ok(handed_on) };
    let is_listed = |name: &str| connection.request_headers.iter().any(|listed| listed == name);
    let is_idempotency = |name: &str| {
        name == IDEMPOTENCY || connection.idempotency_header.as_ref().is_some_and(|own| own == name)
    };
    for (name, value) in given {
        let name = name.as_str();
        let is_key = name == AUTHORIZATION.as_str() || connection.attach.header_name() == Some(name);
        if is_key || is_idempotency(name) {
            continue;
        }
        if is_listed(name) {
            let value = value.to_str().map_err(|_| {
                invalid(format!("the header {name} holds a character other than visible ASCII"))
            })?;
            handed_on.push((name.to_owned(), value.to_owned()));
        } else if changes_the_meaning(name) {
            return Err(invalid(format!(
                "the header {name} changes what the request means, and the connection {} doesn't let it through",
                connection.name
            )));
        }
    }
    Ok(handed_on)
}

/// Whether a request without this header would be another one. The name is in lower case.
fn changes_the_meaning(name: &str) -> bool {
    MEANINGFUL.contains(&name) || ACCOUNTS.contains(&name) || name.starts_with(ACCOUNT_PREFIX)
}

/// The body's media type, if one is given: once, as text, and in UTF-8 where the host reads it.
fn media_type(given: &HeaderMap) -> Result<Option<MediaType>, Refusal> {
    let mut all = given.get_all(CONTENT_TYPE).iter();
    let value = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(invalid("there is more than one Content-Type")),
    };
    let whole = value.to_str().map_err(|_| invalid("the Content-Type isn't visible ASCII"))?.to_owned();
    let lower = whole.to_ascii_lowercase();
    let (essence, parameters) = lower.split_once(';').unwrap_or((&lower, ""));
    let essence = essence.trim().to_owned();
    let parameters = parameters.trim();
    if (essence == FORM || is_json(&essence))
        && !["", "charset=utf-8", "charset=\"utf-8\""].contains(&parameters)
    {
        return Err(invalid("the Content-Type has a parameter other than charset=utf-8"));
    }
    Ok(Some(MediaType { essence, whole }))
}

fn text(body: &Bytes) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|_| invalid("the body isn't UTF-8"))
}

fn invalid(rule: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidRequest, rule)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderName;

    use super::*;
    use crate::connection::Connections;
    use crate::ids::Realm;

    const VENDOR: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "header", name = "x-api-key" }
headers = { "Vendor-Version" = "1" }
request_headers = ["accept", "if-match", "idempotency-key", "x-once"]
idempotency_header = "X-Once"
[operations.get]
request = "GET /x"
effect = "read"
"#;

    fn connection() -> Arc<Connection> {
        connection_of(VENDOR)
    }

    fn connection_of(text: &str) -> Arc<Connection> {
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "dev".parse().unwrap() };
        Connections::parse(&[("vendor.toml", text)]).unwrap().get(&realm, "vendor").unwrap()
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    fn filled(
        method: Method,
        content_type: Option<&str>,
        body: &'static [u8],
    ) -> Result<Option<DraftBody>, Refusal> {
        let headers = content_type.map(|text| map(&[("content-type", text)])).unwrap_or_default();
        let given = Given {
            connection: "vendor".into(),
            method: &method,
            path: "/x".into(),
            query: Pairs::new(),
            headers: &headers,
            body: Bytes::from_static(body),
        };
        draft(given, None).map(|draft| draft.body)
    }

    #[test]
    fn an_sdks_chatter_is_left_out_and_what_is_listed_is_handed_on() {
        let given = map(&[
            ("host", "h"),
            ("user-agent", "Vendor/v1 PythonBindings/16.1.0"),
            ("x-vendor-client-user-agent", "{}"),
            ("vendor-version", "2"),
            ("accept-encoding", "gzip, br"),
            ("connection", "keep-alive"),
            ("content-length", "4"),
            ("content-type", "text/plain"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("authorization", "Bearer kbt_1"),
            ("x-api-key", "kbt_1"),
            ("idempotency-key", "random"),
            ("x-once", "random"),
            ("keybearer-conversation", "c"),
            ("accept", "*/*"),
            ("if-match", "\"1\""),
        ]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            headers(&given, Some(&connection())).unwrap(),
            [pair("accept", "*/*"), pair("if-match", "\"1\"")]
        );
        assert!(headers(&given, None).unwrap().is_empty());
    }

    #[test]
    fn what_changes_the_meaning_is_refused_not_left_out() {
        let family = ["impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-scopes"];
        for name in [MEANINGFUL, ACCOUNTS, &family].concat().into_iter().filter(|name| *name != "if-match") {
            let refusal = headers(&map(&[(name, "1")]), Some(&connection())).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidRequest);
            assert!(refusal.message.contains(name), "{}", refusal.message);
        }
        assert!(MEANINGFUL.is_sorted() && ACCOUNTS.is_sorted());
        let mut not_text = HeaderMap::new();
        not_text.insert("accept", http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(headers(&not_text, Some(&connection())).is_err());
    }

    #[test]
    fn another_account_goes_on_where_the_connection_lets_it_through() {
        let names = ["openai-project", "sudo", "impersonate-user"];
        let listed = names.map(|name| format!("{name:?}")).join(", ");
        let connection =
            connection_of(&VENDOR.replace("request_headers = [", &format!("request_headers = [{listed}, ")));
        for name in names {
            let handed_on = headers(&map(&[(name, "1")]), Some(&connection)).unwrap();
            assert_eq!(handed_on, [(name.to_owned(), "1".to_owned())]);
        }
        assert!(headers(&map(&[("impersonate-group", "1")]), Some(&connection)).is_err());
    }

    #[test]
    fn a_body_is_what_its_type_says() {
        let post = |content_type, body| filled(Method::POST, content_type, body).unwrap();
        let form = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            Some(DraftBody::Form(owned.collect()))
        };
        assert_eq!(post(Some(FORM), b"a=1&b[c]=x+y"), form(&[("a", "1"), ("b[c]", "x y")]));
        assert_eq!(
            post(Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8"), b"a=1"),
            form(&[("a", "1")])
        );
        assert_eq!(post(Some(FORM), b""), form(&[]));
        assert_eq!(filled(Method::DELETE, Some(FORM), b"").unwrap(), None);
        assert_eq!(filled(Method::GET, Some(FORM), b"").unwrap(), None);
        assert_eq!(filled(Method::GET, Some(FORM), b"a=1").unwrap(), form(&[("a", "1")]));
        let json = Some(DraftBody::Json("{\"a\":1}".to_owned()));
        assert_eq!(post(Some("application/json"), b"{\"a\":1}"), json);
        assert_eq!(post(Some("application/merge-patch+json;charset=\"utf-8\""), b"{\"a\":1}"), json);
        assert_eq!(post(Some("application/json"), b""), None);
        let data = Bytes::from_static(b"\xff");
        let bytes = DraftBody::Bytes { content_type: "Image/PNG; a=b".to_owned(), data };
        assert_eq!(post(Some("Image/PNG; a=b"), b"\xff"), Some(bytes));
        assert_eq!(post(None, b""), None);
    }

    #[test]
    fn a_body_that_is_not_what_it_says_is_refused() {
        for (content_type, body) in [
            (None, &b"a=1"[..]),
            (Some(FORM), b"a=\xff"),
            (Some(FORM), b"{\"a\":1}"),
            (Some(FORM), b"a=1\r\n"),
            (Some("application/x-www-form-urlencoded; charset=utf-16"), b"a=1"),
            (Some("application/json; charset=utf-7"), b"{}"),
            (Some("application/json"), b"\"\xff\""),
        ] {
            let refusal = filled(Method::POST, content_type, body).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidRequest, "{content_type:?}");
        }
        let two = map(&[("content-type", FORM), ("content-type", "application/json")]);
        assert!(media_type(&two).is_err());
    }
}
