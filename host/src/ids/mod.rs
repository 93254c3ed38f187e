//! Newtypes for every name and id that crosses a module boundary.
//!
//! INVARIANT (named): a value of these types has passed its alphabet and length check, so it can be put into a
//! log line, a path below the home directory or a database row without escaping. [`ModelCallId`] alone is another's,
//! in an alphabet of theirs: it's one word in a log line, and goes into no path.

mod reservation;

pub use reservation::ReservationId;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct InvalidName {
    /// Which kind of name was expected.
    pub what: &'static str,
    /// The text, cut to 80 characters.
    pub value: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { what: $what, value: text.chars().take(80).collect(), rule: $rule })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A customer of this host. Its secrets, tokens and audit rows are apart from every other tenant's.
    TenantId, "tenant", is_slug,
    "use 1 to 64 lower-case letters, digits, '-' and '_', starting with a letter or digit"
);
name!(
    /// Development, staging, production: a wall inside a tenant.
    Environment, "environment", is_slug,
    "use 1 to 64 lower-case letters, digits, '-' and '_', starting with a letter or digit"
);
name!(
    /// The agent that a token was minted for.
    AgentId, "agent", is_label,
    "use 1 to 128 letters, digits and any of '-_.:@', starting with a letter or digit"
);
name!(
    /// One conversation of an agent, as the caller names it.
    ConversationId, "conversation", is_label,
    "use 1 to 128 letters, digits and any of '-_.:@', starting with a letter or digit"
);
name!(
    /// One turn of a conversation, as the caller names it.
    TurnId, "turn", is_label,
    "use 1 to 128 letters, digits and any of '-_.:@', starting with a letter or digit"
);
name!(
    /// A tool, as agents call it.
    ToolName, "tool", is_snake,
    "use a lower-case letter, then up to 63 lower-case letters, digits and '_'"
);
name!(
    /// An upstream that the operator set up.
    ConnectionName, "connection", is_slug,
    "use 1 to 64 lower-case letters, digits, '-' and '_', starting with a letter or digit"
);
name!(
    /// One thing that a connection can do.
    OperationName, "operation", is_snake,
    "use a lower-case letter, then up to 63 lower-case letters, digits and '_'"
);
name!(
    /// The name of a secret in the vault.
    SecretLabel, "secret label", is_label,
    "use 1 to 128 letters, digits and any of '-_.:@', starting with a letter or digit"
);
name!(
    /// A person whose own secrets an agent may use: whoever the operator's application says is behind a conversation.
    UserId, "user", is_label,
    "use 1 to 128 letters, digits and any of '-_.:@', starting with a letter or digit"
);
name!(
    /// What an agent is for: billing, reconciliation, analytics. Policies speak of roles rather than of agents.
    RoleName, "role", is_slug,
    "use 1 to 64 lower-case letters, digits, '-' and '_', starting with a letter or digit"
);
name!(
    /// What a caller calls one intended effect: the same write under another intent is meant to happen again.
    IntentId, "intent", is_label,
    "use 1 to 128 letters, digits and any of '-_.:@', starting with a letter or digit"
);
name!(
    /// What a model calls one of its tool calls, so that an operator finds the host's record of it.
    ModelCallId, "model call", is_visible,
    "use 1 to 128 visible ASCII characters"
);
name!(
    /// A request that waits for a person, or was decided by one: `apr_` and 24 hexadecimal digits.
    ApprovalId, "approval id", is_approval_id,
    "it is 'apr_' and 24 lower-case hexadecimal digits"
);
name!(
    /// A kill switch that was thrown: `kill_` and 24 hexadecimal digits.
    KillId, "kill id", is_kill_id,
    "it is 'kill_' and 24 lower-case hexadecimal digits"
);
name!(
    /// A policy that was posted: `pol_` and 24 hexadecimal digits.
    PolicyId, "policy id", is_policy_id,
    "it is 'pol_' and 24 lower-case hexadecimal digits"
);
name!(
    /// An answer to an enforcement point: `dec_` and 24 hexadecimal digits.
    DecisionId, "decision id", is_decision_id,
    "it is 'dec_' and 24 lower-case hexadecimal digits"
);
name!(
    /// A call, unique for ever: `call_` and 32 hexadecimal digits.
    CallId, "call id", is_call_id,
    "it is 'call_' and 32 lower-case hexadecimal digits"
);
name!(
    /// The public id of a token: `tok_` and 24 hexadecimal digits. It's no credential.
    TokenId, "token id", is_token_id,
    "it is 'tok_' and 24 lower-case hexadecimal digits"
);

impl CallId {
    /// A fresh id: 48 bits of time, so that ids sort, and 80 random bits.
    #[must_use]
    pub fn fresh(now: crate::clock::Millis) -> Self {
        let mut bytes = [0_u8; 16];
        random(&mut bytes);
        bytes[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
        let mut text = String::with_capacity("call_".len() + 2 * bytes.len());
        text.push_str("call_");
        bytes.iter().for_each(|byte| push_hex(&mut text, *byte));
        Self(text.into())
    }
}

macro_rules! fresh {
    ($type:ident, $prefix:literal) => {
        impl $type {
            /// A fresh id of 96 random bits.
            #[must_use]
            pub fn fresh() -> Self {
                let mut bytes = [0_u8; 12];
                random(&mut bytes);
                Self(format!(concat!($prefix, "{}"), hex::encode(bytes)).into())
            }
        }
    };
}

fresh!(AgentId, "agent_");
fresh!(DecisionId, "dec_");
fresh!(TokenId, "tok_");
fresh!(ApprovalId, "apr_");
fresh!(KillId, "kill_");
fresh!(PolicyId, "pol_");

/// Fills `bytes` from the operating system's generator.
///
/// # Panics
/// When the operating system can't give random bytes. There's no safe way to go on then.
#[expect(clippy::expect_used, reason = "without randomness there is no safe way to go on")]
pub fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

fn push_hex(text: &mut String, byte: u8) {
    for half in [byte >> 4, byte & 15] {
        text.push(char::from(if half < 10 { b'0' + half } else { b'a' + half - 10 }));
    }
}

/// Whose a call is: the pair that secrets, connections and tokens belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Realm {
    /// The tenant.
    pub tenant: TenantId,
    /// The environment inside the tenant.
    pub environment: Environment,
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.environment)
    }
}

/// A SHA-256 digest, shown as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits alone, for file names.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// `sha256:` and the first 12 digits, for tables.
    #[must_use]
    pub fn short(&self) -> String {
        format!("sha256:{}", hex::encode(&self.0[..6]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Digest {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| InvalidName {
            what: "digest",
            value: text.chars().take(80).collect(),
            rule: "it is 'sha256:' and 64 hexadecimal digits",
        })?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Every audit row holds several: no allocation, no formatting.
        let mut text = *b"sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let (_, digits) = text.split_at_mut("sha256:".len());
        hex::encode_to_slice(self.0, digits).map_err(serde::ser::Error::custom)?;
        to.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

fn is_slug(text: &str) -> bool {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(tail) && !text.starts_with(['-', '_'])
}

fn is_label(text: &str) -> bool {
    let tail = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b);
    (1..=128).contains(&text.len())
        && text.bytes().all(tail)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_visible(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_snake(text: &str) -> bool {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&text.len())
        && text.bytes().all(tail)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_call_id(text: &str) -> bool {
    is_prefixed_hex(text, "call_", 32)
}

fn is_token_id(text: &str) -> bool {
    is_prefixed_hex(text, "tok_", 24)
}

fn is_approval_id(text: &str) -> bool {
    is_prefixed_hex(text, "apr_", 24)
}

fn is_decision_id(text: &str) -> bool {
    is_prefixed_hex(text, "dec_", 24)
}

fn is_kill_id(text: &str) -> bool {
    is_prefixed_hex(text, "kill_", 24)
}

fn is_policy_id(text: &str) -> bool {
    is_prefixed_hex(text, "pol_", 24)
}

fn is_prefixed_hex(text: &str, prefix: &str, digits: usize) -> bool {
    text.strip_prefix(prefix).is_some_and(|tail| {
        tail.len() == digits && tail.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabets() {
        for good in ["a", "acme", "acme-2", "0x", "a_b"] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "Acme", "a b", "a/b", "..", "é", &"a".repeat(65), "a\n", "a\0"] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
            assert!(bad.parse::<ToolName>().is_err(), "{bad:?}");
        }
        assert!("get-invoice".parse::<ToolName>().is_err());
        assert!("stripe:live.eu".parse::<SecretLabel>().is_ok());
        for good in ["call_1", "toolu_01/x", "{\"\\", &"a".repeat(128)] {
            assert!(good.parse::<ModelCallId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\n", "a\u{7f}", "é", &"a".repeat(129)] {
            assert!(bad.parse::<ModelCallId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_fresh_and_parse_back() {
        let call = CallId::fresh(crate::clock::Millis(1_700_000_000_000));
        assert_eq!(call.as_str().parse::<CallId>().unwrap(), call);
        assert_ne!(TokenId::fresh(), TokenId::fresh());
        assert!("call_XYZ".parse::<CallId>().is_err());
    }

    #[test]
    fn digests_parse_back() {
        let digest = Digest::of(b"");
        assert_eq!(
            digest.to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("sha256:12".parse::<Digest>().is_err());
    }
}
