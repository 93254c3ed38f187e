//! `PUT|DELETE /v1/users/{user}/secrets/{label}` and `GET /v1/users/{user}/secrets`: users' own secrets go in, none comes
//! out.
//!
//! A user types a secret into a chat; the agent's application takes it out of the message, stores it here, and leaves the
//! reference in its place. A connection with `secret_of = "user"` uses it, for calls with a token of that user alone.
//!
//! INVARIANT (no echo): nothing that is answered, logged or recorded here holds any part of a body.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::body;
use super::change::{blocking, done, settled, unable, unrecorded};
use super::query::{self, bad};
use super::realm::realm_of;
use super::router::{Door, Route, last_but_one_segment, last_segment, segment_before_last};
use super::wire::json;
use crate::app::App;
use crate::audit::AuditError;
use crate::auth::Caller;
use crate::clock::Millis;
use crate::egress::vault::AdminError;
use crate::egress::{SecretInput, new_label};
use crate::ids::{Environment, Realm, SecretLabel, UserId};
use crate::json::Object;
use crate::refusal::{Code, Refusal};
use crate::store::TokenKind;

/// The largest body of a `PUT`: the longest secret, every character of it escaped.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The answer to a `PUT`.
#[derive(Debug, Serialize)]
pub(super) struct StoredSecret {
    pub(super) reference: String,
    pub(super) label: SecretLabel,
    pub(super) version: u32,
}

/// `GET`: what is stored, by label.
#[derive(Debug, Serialize)]
pub(super) struct OwnSecretList {
    pub(super) secrets: Vec<OwnSecret>,
}

/// All that may be told of one.
#[derive(Debug, Serialize)]
pub(super) struct OwnSecret {
    pub(super) reference: String,
    pub(super) label: SecretLabel,
    pub(super) version: u32,
    pub(super) stored_at: Millis,
}

/// The labels and versions of a user's secrets.
pub(super) async fn list(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = listed(&door, request).await;
    door.answer(Route::UserSecrets, result)
}

/// Stores one, in place of the one before.
pub(super) async fn put(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = stored(&door, request).await;
    door.answer(Route::UserSecret, result)
}

/// Removes one.
pub(super) async fn remove(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = removed(&door, request).await;
    door.answer(Route::UserSecret, result)
}

/// What stands behind a `secret:` in a message.
pub(super) fn reference(label: &SecretLabel) -> String {
    format!("secret:{label}")
}

async fn listed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.any_reader(request.headers())?;
    let whose = Whose::of(caller, &request, last_but_one_segment(&request))?;
    let app = door.app.clone();
    let rows = blocking(move || app.vault.own(&whose.realm, &whose.user)).await?;
    let secret = |info: crate::egress::SecretInfo| OwnSecret {
        reference: reference(&info.label),
        label: info.label,
        version: info.version,
        stored_at: info.created_at,
    };
    let secrets = rows.map_err(|error| failed(&error))?.into_iter().map(secret).collect();
    Ok(json(&OwnSecretList { secrets }))
}

async fn stored(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.agent_or_operator(request.headers())?;
    let whose = Whose::of(caller, &request, segment_before_last(&request, 2))?;
    let label = label(&request)?;
    let bytes_max = door.body_bytes_max.min(BODY_BYTES_MAX);
    let bytes = body::read(request.into_body(), bytes_max, door.body_time_max).await?;
    let secret = secret(bytes)?;
    let version = settled(store_recorded(door.app.clone(), whose, label.clone(), secret)).await?;
    Ok(json(&StoredSecret { reference: reference(&label), label, version }))
}

async fn removed(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.agent_or_operator(request.headers())?;
    let whose = Whose::of(caller, &request, segment_before_last(&request, 2))?;
    let missing = || Refusal::new(Code::NotFound, "this user has no secret of this label here");
    let label: SecretLabel = plain(last_segment(&request)).parse().map_err(|_| missing())?;
    let found = settled(remove_recorded(door.app.clone(), whose, label)).await?;
    if found { Ok(done()) } else { Err(missing()) }
}

/// Whose secrets a request is about, once it's known that they are its sender's business.
struct Whose {
    caller: Arc<Caller>,
    realm: Realm,
    user: UserId,
}

impl Whose {
    /// For an operator and a monitor those of every user, in its own environment or the one within its reach that
    /// `?environment=` names; for an agent those of the user that its token is bound to, in the token's realm, if the token
    /// says so. That a monitor changes none is [`Door::agent_or_operator`]'s to see to.
    fn of(caller: Arc<Caller>, request: &Request, user: &str) -> Result<Self, Refusal> {
        let user = plain(user).parse::<UserId>();
        let environment = environment(request)?;
        match (caller.kind(), user) {
            (TokenKind::Operator | TokenKind::Monitor, Ok(user)) => {
                Ok(Self { realm: realm_of(&caller, environment)?, user, caller })
            }
            (TokenKind::Operator | TokenKind::Monitor, Err(error)) => {
                Err(Refusal::new(Code::BadRequest, format!("the user's id is not valid: {}", error.rule)))
            }
            (TokenKind::Agent, Ok(user))
                if caller.may_store_secrets_of(&user)
                    && environment.is_none_or(|name| name == caller.realm().environment) =>
            {
                Ok(Self { realm: caller.realm().clone(), user, caller })
            }
            // One answer, so that nobody learns of other users here.
            (TokenKind::Agent, _) => Err(Refusal::new(
                Code::Denied,
                "this token may not store secrets of this user: it has to be bound to that user, and allowed to store secrets",
            )),
        }
    }
}

/// A user's id or a label as it's meant: `@` and `:` may stand in both, and many clients escape them. What isn't an
/// escape of text stays what neither can hold.
fn plain(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

/// `?environment=NAME`, and nothing else.
fn environment(request: &Request) -> Result<Option<Environment>, Refusal> {
    let [name] = query::read(request.uri(), ["environment"])?;
    let name = name.map(str::parse::<Environment>).transpose();
    name.map_err(|error| bad(&format!("environment: {}", error.rule)))
}

fn label(request: &Request) -> Result<SecretLabel, Refusal> {
    new_label(&plain(last_segment(request)))
        .map_err(|error| Refusal::new(Code::BadRequest, format!("the label is not valid: {error}")))
}

/// `{"secret": "…"}`. What is wrong with it is said without a word of it: what a reader of JSON says repeats what it read.
fn secret(bytes: Bytes) -> Result<SecretInput, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[serde(deserialize_with = "text")]
        secret: Zeroizing<Vec<u8>>,
    }
    let read = serde_json::from_slice::<Object<Body>>(&bytes).ok().map(|Object(body)| body.secret);
    wipe(bytes);
    let secret = read.ok_or_else(|| {
        Refusal::new(
            Code::BadRequest,
            "the body can't be used: it has to be one JSON object with one member, \"secret\", which is a string",
        )
    })?;
    SecretInput::new(secret).map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
    let text = String::deserialize(from).map_err(|_| D::Error::custom("no string"))?;
    Ok(Zeroizing::new(text.into_bytes()))
}

/// Overwrites a body, where nobody else holds a part of its buffer. (Docs: where the promises end.)
fn wipe(bytes: Bytes) {
    use zeroize::Zeroize as _;
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.as_mut().zeroize();
    }
}

/// Stores a secret and records it: both or neither; and before that, that it's about to, so that one which is in use is on
/// record even if the host ends in between. Then the one before goes.
async fn store_recorded(
    app: Arc<App>,
    whose: Whose,
    label: SecretLabel,
    secret: SecretInput,
) -> Result<u32, Refusal> {
    let Whose { caller, realm, user } = whose;
    let by = caller.token().as_str();
    let unstored = |error: &AuditError, subject: &str| {
        unrecorded(error, subject, "the host can't write its audit trail, so no secret was stored")
    };
    let subject = format!("{label} of the user {user}");
    let recorded = app.audit.admin(Some(realm.clone()), "user-secret.put", &subject, by).await;
    recorded.map_err(|error| unstored(&error, &subject))?;
    let version = {
        let (app, realm, user, label) = (app.clone(), realm.clone(), user.clone(), label.clone());
        blocking(move || app.vault.put_own(&realm, &user, &label, &secret))
            .await?
            .map_err(|error| failed(&error))?
    };
    let subject = format!("{label} version {version} of the user {user}");
    let recorded = app.audit.admin(Some(realm.clone()), "user-secret.set", &subject, by).await;
    let refusal = recorded.err().map(|error| unstored(&error, &subject));
    blocking(move || match refusal {
        Some(refusal) => {
            app.vault.remove_own(&realm, &user, &label, Some(version)).map_err(|error| failed(&error))?;
            Err(refusal)
        }
        None => app.vault.keep_own(&realm, &user, &label, version).map_err(|error| failed(&error)),
    })
    .await??;
    Ok(version)
}

async fn remove_recorded(app: Arc<App>, whose: Whose, label: SecretLabel) -> Result<bool, Refusal> {
    let Whose { caller, realm, user } = whose;
    let removed = {
        let (app, realm, user, label) = (app.clone(), realm.clone(), user.clone(), label.clone());
        blocking(move || app.vault.remove_own(&realm, &user, &label, None))
            .await?
            .map_err(|error| failed(&error))?
    };
    if removed == 0 {
        return Ok(false);
    }
    // The removal comes first: a trail that can't be written must not keep what a user wants gone.
    let subject = format!("{label} of the user {user}");
    let by = caller.token().as_str();
    let recorded = app.audit.admin(Some(realm), "user-secret.remove", &subject, by).await;
    recorded.map_err(|error| {
        unrecorded(&error, &subject, "the secret is removed, and that could not be recorded")
    })?;
    Ok(true)
}

fn failed(error: &AdminError) -> Refusal {
    match error {
        AdminError::TooManyOwn => Refusal::new(Code::BadRequest, error.to_string()),
        _ => unable("read or change its vault", error),
    }
}
