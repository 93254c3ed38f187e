//! How a write is recognised when it's asked for again.

use http::HeaderName;
use sha2::{Digest as _, Sha256};

use crate::clock::Millis;
use crate::digested::Digested;
use crate::egress::{Canonical, CanonicalBody};
use crate::ids::{ConnectionName, ConversationId, IntentId, OperationName, Realm, UserId, random};
use crate::store::{ControlStore, StoreError};

/// Starts what is hashed, so that no hash of another kind can be passed off as one of these.
const DOMAIN: &[u8] = b"keybearer write 1\0";

/// Where most upstreams take a key for a write.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Headers that only say how the reply is to look. SDKs, tools and command lines differ in them, and mean the same write.
const LOOKS: [&str; 2] = ["accept", "accept-language"];

/// The parameter of a media type that some clients say and some don't, and mean the same bytes. Any other may change what
/// they mean: `header=absent`, `charset=iso-8859-1`.
const UTF_8: [&str; 2] = ["charset=utf-8", "charset=\"utf-8\""];

/// The name of the setting that holds the salt.
const SALT: &str = "ledger.salt";

/// A write that mustn't be made twice within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedup {
    /// The same for the same write and intent in the same conversation.
    pub key: [u8; 32],
    /// For how long the same write is taken for a repetition, in milliseconds from when it's begun.
    pub window_ms: u64,
}

/// What makes two writes the same.
#[derive(Debug, Clone, Copy)]
pub struct WriteFacts<'a> {
    /// Whose it is.
    pub realm: &'a Realm,
    /// The conversation. Where there's none, nothing says that a repetition is one.
    pub conversation: &'a ConversationId,
    /// Where it goes.
    pub connection: &'a ConnectionName,
    /// What it does there.
    pub operation: &'a OperationName,
    /// The request. One of its headers may name another account, or a version that it's about; those that say how the reply
    /// is to look don't matter, nor does `charset=utf-8` in its media type.
    pub request: &'a Canonical,
    /// The header that the upstream takes a key in. It doesn't matter, nor does `Idempotency-Key`: SDKs put random ones there.
    pub idempotency_header: Option<&'a HeaderName>,
    /// What the caller calls its intent: the same write under another intent is meant to happen again.
    pub intent: Option<&'a IntentId>,
    /// The user whose own secret is attached: the same request of two users is two writes, in two accounts.
    pub user: Option<&'a UserId>,
}

/// What came of the write that the same write was made with before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstOutcome {
    /// It was carried out.
    Done {
        /// The upstream's status; `None` when an operator said that it was carried out.
        status: Option<u16>,
        /// The reply, sealed as it was given to [`settle`](super::settle), if it was kept.
        reply: Option<Vec<u8>>,
        /// When it was begun.
        at: Millis,
    },
    /// Nobody knows whether it was carried out.
    Unknown {
        /// When it was begun.
        at: Millis,
    },
}

/// The salt of a home, which is made when it's first asked for: random, and the same for ever.
///
/// # Errors
/// [`StoreError`] when the store can't be read or written.
pub fn dedup_salt(control: &dyn ControlStore) -> Result<[u8; 32], StoreError> {
    let salt = match control.setting(SALT)? {
        Some(salt) => salt,
        None => {
            let mut fresh = [0; 32];
            random(&mut fresh);
            // Another process may have been quicker: its one counts.
            control.ensure_setting(SALT, &fresh)?
        }
    };
    salt.try_into().map_err(|_| StoreError::Damaged(format!("the setting {SALT} isn't 32 bytes")))
}

/// The key of a write. `salt` is the home's ([`dedup_salt`]), so that two homes which share an upstream
/// account don't take each other's writes for their own.
///
/// Each part has its length in front, so no two writes have the same key by where one part ends and the next begins.
#[must_use]
pub fn dedup_key(salt: &[u8; 32], write: &WriteFacts<'_>) -> [u8; 32] {
    let mut digested = Digested::of(DOMAIN);
    let mut part = |bytes: &[u8]| digested.part(bytes);
    part(salt);
    part(write.realm.tenant.as_str().as_bytes());
    part(write.realm.environment.as_str().as_bytes());
    part(write.conversation.as_str().as_bytes());
    part(write.connection.as_str().as_bytes());
    part(write.operation.as_str().as_bytes());
    // A missing intent and an empty one would be the same, but none is empty.
    part(write.intent.map_or("", IntentId::as_str).as_bytes());
    let request = write.request;
    part(request.method().as_str().as_bytes());
    part(request.path().as_bytes());
    part(body_type(request.content_type().unwrap_or_default()).as_bytes());
    // By name: the order in which an SDK writes them out isn't always the same.
    let mut pairs = |pairs: &[(String, String)]| {
        let mut sorted: Vec<_> = pairs.iter().collect();
        sorted.sort_unstable();
        part(&(sorted.len() as u64).to_be_bytes());
        sorted.into_iter().flat_map(|(name, value)| [name, value]).for_each(|text| part(text.as_bytes()));
    };
    pairs(request.query());
    match request.body() {
        CanonicalBody::Form(fields) => pairs(fields),
        // The bytes of JSON are canonical, its keys sorted.
        CanonicalBody::None | CanonicalBody::Json(_) | CanonicalBody::Raw => part(request.body_bytes()),
    }
    let says_nothing = |name: &HeaderName| {
        name.as_str() == IDEMPOTENCY_KEY
            || Some(name) == write.idempotency_header
            || LOOKS.contains(&name.as_str())
    };
    let mut headers: Vec<_> = request.headers().iter().filter(|(name, _)| !says_nothing(name)).collect();
    headers.sort_unstable_by_key(|(name, _)| name.as_str());
    for (name, value) in headers {
        part(b"header");
        part(name.as_str().as_bytes());
        part(value.as_bytes());
    }
    if let Some(user) = write.user {
        part(b"user");
        part(user.as_str().as_bytes());
    }
    digested.digest().0
}

/// A media type with what it says of the body, in one part: no parameter's value holds a semicolon. Each name stands in it once, so
/// their order says nothing.
fn body_type(content_type: &str) -> String {
    let says_nothing = |part: &&str| UTF_8.iter().any(|utf_8| part.eq_ignore_ascii_case(utf_8));
    let mut parts: Vec<&str> =
        content_type.split(';').map(str::trim).filter(|part| !says_nothing(part)).collect();
    if let Some(parameters) = parts.get_mut(1..) {
        parameters.sort_unstable();
    }
    parts.join("; ")
}

/// The key as the upstream gets it, for a header like `Idempotency-Key`: a UUID of version 8 (36 characters), which is
/// what the strictest APIs take. The same for the same write and intent, however often it's sent; but another one with each
/// attempt: under the same key an upstream that has refused it would only refuse it again, though a card may be good by then.
#[must_use]
pub fn idempotency_value(key: &[u8; 32], attempt: u32) -> String {
    let mut hashed = [b"keybearer idempotency 1\0".as_slice(), key].concat();
    if attempt > 0 {
        hashed.extend(attempt.to_be_bytes());
    }
    let digest: [u8; 32] = Sha256::digest(hashed).into();
    let half = digest.first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
    let uuid = (half & !(0xf << 76) & !(0b11 << 62)) | (0x8 << 76) | (0b10 << 62);
    let part = |shift: u32, bits: u32| (uuid >> shift) & ((1 << bits) - 1);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 32),
        part(80, 16),
        part(64, 16),
        part(48, 16),
        part(0, 48)
    )
}
