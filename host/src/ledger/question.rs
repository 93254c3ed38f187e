//! How a question of an enforcement point is recognised when it's asked again.

use crate::digested::Digested;
use crate::ids::{Digest, Realm, TokenId};

/// Starts what is hashed, so that no hash of another kind can be passed off as one of these.
const DOMAIN: &[u8] = b"keybearer question 1\0";

/// What makes two questions the same.
#[derive(Debug, Clone, Copy)]
pub struct QuestionFacts<'a> {
    /// Whose it is.
    pub realm: &'a Realm,
    /// Whom it's about.
    pub token: &'a TokenId,
    /// What the enforcement point calls it.
    pub request: &'a str,
    /// What would be done.
    pub action: &'a str,
    /// With what.
    pub resource: &'a str,
    /// All else that was said, whatever its order.
    pub said: Digest,
}

/// The key of a question: another amount under the same name is another question. Each part has its length in front, so no
/// two have the same key by where one part ends and the next begins.
#[must_use]
pub fn question_key(salt: &[u8; 32], question: &QuestionFacts<'_>) -> [u8; 32] {
    let QuestionFacts { realm, token, request, action, resource, said } = question;
    let mut digested = Digested::of(DOMAIN);
    for part in [
        salt.as_slice(),
        realm.tenant.as_str().as_bytes(),
        realm.environment.as_str().as_bytes(),
        token.as_str().as_bytes(),
        request.as_bytes(),
        action.as_bytes(),
        resource.as_bytes(),
        said.0.as_slice(),
    ] {
        digested.part(part);
    }
    digested.digest().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_is_another_question() {
        let realm =
            |name: &str| Realm { tenant: "acme".parse().unwrap(), environment: name.parse().unwrap() };
        let (prod, dev) = (realm("prod"), realm("dev"));
        let tokens = ["tok_000000000000000000000000", "tok_000000000000000000000001"];
        let [a, b] = tokens.map(|id| id.parse::<TokenId>().unwrap());
        let one = QuestionFacts {
            realm: &prod,
            token: &a,
            request: "r1",
            action: "charge",
            resource: "connection://stripe",
            said: Digest::of(b"{}"),
        };
        let others = [
            QuestionFacts { realm: &dev, ..one },
            QuestionFacts { token: &b, ..one },
            QuestionFacts { request: "r", action: "1charge", ..one },
            QuestionFacts { request: "r2", ..one },
            QuestionFacts { action: "refund", ..one },
            QuestionFacts { resource: "connection://other", ..one },
            QuestionFacts { said: Digest::of(b"[]"), ..one },
        ];
        let key = |question: &QuestionFacts<'_>| question_key(&[0; 32], question);
        assert_eq!(key(&one), key(&QuestionFacts { ..one }));
        assert!(others.iter().all(|other| key(other) != key(&one)));
        assert_ne!(question_key(&[1; 32], &one), key(&one), "another home's");
    }
}
