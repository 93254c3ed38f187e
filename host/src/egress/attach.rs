//! Puts a secret on a permitted request: the only way from the vault on to the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::Secret;
use crate::connection::{Attach, TypedSend};
use crate::policy::Permitted;
use crate::refusal::{FailureReason, SendFailure};

/// What to add to the request, and what to look for in everything that comes back.
///
/// The header's own buffer isn't zeroized: `http` has no way to. It's marked sensitive, so that it isn't printed or
/// indexed, and lives as long as the request.
pub(in crate::egress) struct Attached {
    /// The header to add.
    pub(in crate::egress) header: Option<(HeaderName, HeaderValue)>,
    /// The query parameter to add, not yet encoded.
    pub(in crate::egress) query: Option<(String, Zeroizing<String>)>,
    /// The byte strings that are injected: the secret, and what it was turned into where it doesn't stand as it is.
    pub(in crate::egress) injected: Vec<Zeroizing<Vec<u8>>>,
}

/// Attaches a secret to a request that the policy allowed.
///
/// # Errors
/// [`FailureReason::NoSecret`] when this secret can't stand in that place; the cause says why, without the secret.
pub(in crate::egress) fn attach(
    _permit: &Permitted<TypedSend>,
    how: &Attach,
    secret: &Secret,
) -> Result<Attached, SendFailure> {
    place(how, secret)
}

fn place(how: &Attach, secret: &Secret) -> Result<Attached, SendFailure> {
    let raw = Zeroizing::new(secret.expose().to_vec());
    match how {
        Attach::Bearer => header(AUTHORIZATION, "Bearer ", secret.expose(), vec![raw]),
        Attach::Basic { user } => {
            let pair = match user {
                Some(user) => joined(&[user.as_bytes(), b":", secret.expose()]),
                None => joined(&[secret.expose(), b":"]),
            };
            let encoded = base64(&pair);
            header(AUTHORIZATION, "Basic ", &encoded, vec![raw, encoded.clone()])
        }
        Attach::Header { name, prefix } => {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| unusable("the connection's attach.name is no header name"))?;
            header(name, prefix, secret.expose(), vec![raw])
        }
        Attach::Query { name } => {
            let value = std::str::from_utf8(secret.expose())
                .map_err(|_| unusable("the secret isn't UTF-8, which a query parameter has to be"))?;
            let value = Zeroizing::new(value.to_owned());
            Ok(Attached { header: None, query: Some((name.clone(), value)), injected: vec![raw] })
        }
    }
}

fn header(
    name: HeaderName,
    prefix: &str,
    value: &[u8],
    injected: Vec<Zeroizing<Vec<u8>>>,
) -> Result<Attached, SendFailure> {
    let mut value = HeaderValue::from_bytes(&joined(&[prefix.as_bytes(), value]))
        .map_err(|_| unusable("the prefix or the secret holds a character that no header may have"))?;
    value.set_sensitive(true);
    Ok(Attached { header: Some((name, value)), query: None, injected })
}

/// The parts as one, in a buffer that is zeroized and never grows.
fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut all = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        all.extend_from_slice(part);
    }
    all
}

fn base64(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    STANDARD.encode_string(bytes, &mut text);
    Zeroizing::new(text.into_bytes())
}

fn unusable(cause: &str) -> SendFailure {
    SendFailure::unsent(FailureReason::NoSecret, "there is no usable secret for this connection here")
        .because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.as_bytes().to_vec()), 1)
    }

    fn placed(how: &Attach) -> Attached {
        place(how, &secret("sk_test_12345678")).unwrap_or_else(|failure| panic!("{failure:?}"))
    }

    fn header_of(how: &Attach) -> (String, String) {
        let (name, value) = placed(how).header.unwrap();
        assert!(value.is_sensitive());
        assert!(!format!("{value:?}").contains("sk_test"));
        (name.to_string(), value.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_kind_puts_the_secret_in_its_place() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(header_of(&Attach::Bearer), pair("authorization", "Bearer sk_test_12345678"));
        assert_eq!(
            header_of(&Attach::Basic { user: None }),
            pair("authorization", "Basic c2tfdGVzdF8xMjM0NTY3ODo=")
        );
        assert_eq!(
            header_of(&Attach::Basic { user: Some("api".into()) }),
            pair("authorization", "Basic YXBpOnNrX3Rlc3RfMTIzNDU2Nzg=")
        );
        let custom = Attach::Header { name: "x-api-key".into(), prefix: "token ".into() };
        assert_eq!(header_of(&custom), pair("x-api-key", "token sk_test_12345678"));
        let (name, value) = placed(&Attach::Query { name: "key".into() }).query.unwrap();
        assert_eq!((name.as_str(), value.as_str()), ("key", "sk_test_12345678"));
    }

    #[test]
    fn everything_injected_is_listed() {
        let texts = |how: &Attach| -> Vec<String> {
            placed(how).injected.iter().map(|b| String::from_utf8(b.to_vec()).unwrap()).collect()
        };
        assert_eq!(texts(&Attach::Bearer), ["sk_test_12345678"]);
        assert_eq!(texts(&Attach::Basic { user: None }), ["sk_test_12345678", "c2tfdGVzdF8xMjM0NTY3ODo="]);
        assert_eq!(texts(&Attach::Query { name: "key".into() }), ["sk_test_12345678"]);
    }

    #[test]
    fn what_can_not_stand_in_a_header_is_refused_without_telling_it() {
        let bad = Secret::new(Zeroizing::new(b"sk_test\r\nX-Evil: 1".to_vec()), 1);
        for how in [Attach::Bearer, Attach::Header { name: "x-key".into(), prefix: String::new() }] {
            let failure = place(&how, &bad).err().unwrap();
            assert_eq!(failure.reason, FailureReason::NoSecret);
            assert!(!format!("{failure:?}").contains("sk_test"));
        }
        let bad_name = Attach::Header { name: "x key".into(), prefix: String::new() };
        assert!(place(&bad_name, &secret("sk_test_12345678")).is_err());
        let bad_prefix = Attach::Header { name: "x-key".into(), prefix: "a\nb".into() };
        assert!(place(&bad_prefix, &secret("sk_test_12345678")).is_err());
        let not_text = Secret::new(Zeroizing::new(vec![0xff; 16]), 1);
        assert!(place(&Attach::Query { name: "key".into() }, &not_text).is_err());
    }
}
