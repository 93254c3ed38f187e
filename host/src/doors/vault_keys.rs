//! `POST /admin/vault-keys`: an agent's token in other words. A daily cap, the allowed endpoints, a lifetime; to be put
//! where a vendor's SDK has its key, with the proxy door as its base URL.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body;
use super::change::{created, parse, settled};
use super::endpoints;
use super::realm::realm_of;
use super::router::{Door, Route};
use super::tokens::mint_recorded;
use crate::auth::{Grant, Mint, OperationPattern};
use crate::clock::Millis;
use crate::connection::Connection;
use crate::ids::{AgentId, ConnectionName, ConversationId, Environment, Realm, RoleName, TokenId};
use crate::json::object;
use crate::ledger::{Budget, Unit, Window};
use crate::refusal::{Code, Refusal};
use crate::store::TokenKind;

/// The agent that a key is for when its body names none.
const AGENT: &str = "vault-key";

/// The body. An unknown or repeated member is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VaultKeyBody {
    /// Read by hand: as a float, 0.1 would be another number.
    daily_cap_usd: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "object::option")]
    daily_cap: Option<CapBody>,
    allowed_endpoints: Vec<String>,
    ttl_seconds: u64,
    conversation_id: Option<ConversationId>,
    agent: Option<AgentId>,
    role: Option<RoleName>,
    task: Option<String>,
    connection: Option<String>,
    environment: Option<Environment>,
}

/// A cap in any currency, in its smallest unit.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CapBody {
    pub(super) amount: u64,
    pub(super) currency: String,
}

/// The answer: the one time that the key is shown.
#[derive(Debug, Serialize)]
pub(super) struct VaultKey<'a> {
    pub(super) vault_key: &'a str,
    pub(super) id: TokenId,
    pub(super) connection: ConnectionName,
    /// Where the SDK's base URL is, below this host.
    pub(super) base_path: String,
    pub(super) operations: Vec<OperationPattern>,
    pub(super) daily_cap: CapBody,
    pub(super) conversation_id: Option<ConversationId>,
    pub(super) expires_at: Millis,
}

/// Mints a key.
pub(super) async fn mint(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = minted(&door, request).await;
    door.answer(Route::VaultKeys, result)
}

async fn minted(door: &Door, request: Request) -> Result<Response, Refusal> {
    let caller = door.operator(request.headers())?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max).await?;
    let wanted: VaultKeyBody = parse(&bytes)?;
    // Before anything is looked up: what there is in another environment is none of this operator's business.
    let realm = realm_of(&caller, wanted.environment.clone())?;
    let connection = connection(door, &realm, wanted.connection.as_deref())?;
    let cap = cap(&wanted)?;
    let (request, operations) = request_of(wanted, realm, &connection, &cap)?;
    let minted = settled(mint_recorded(door.app.clone(), caller, request, false)).await?;
    Ok(created(&VaultKey {
        vault_key: minted.token.as_str(),
        id: minted.row.id,
        base_path: format!("/proxy/{}", connection.name),
        connection: connection.name.clone(),
        operations,
        daily_cap: cap,
        conversation_id: minted.row.conversation,
        expires_at: minted.row.expires_at,
    }))
}

fn request_of(
    wanted: VaultKeyBody,
    realm: Realm,
    connection: &Connection,
    cap: &CapBody,
) -> Result<(Mint, Vec<OperationPattern>), Refusal> {
    if wanted.allowed_endpoints.is_empty() {
        return Err(bad("name the endpoints that the key may use, in allowed_endpoints"));
    }
    let names = endpoints::operations(connection, &wanted.allowed_endpoints).map_err(bad)?;
    let operations: Vec<_> =
        names.into_iter().map(|name| OperationPattern::Named(connection.name.clone(), name)).collect();
    let unit: Unit = cap.currency.parse().map_err(bad)?;
    if unit == Unit::Requests {
        return Err(bad("a daily cap is of money: give a currency of three letters"));
    }
    let daily = Budget {
        limit: cap.amount,
        unit,
        window: Window::Day,
        time_zone: None,
        connection: Some(connection.name.clone()),
        operation: None,
        effect: None,
    };
    let agent = wanted.agent.map_or_else(|| AGENT.parse().map_err(|error| bad(format!("{error}"))), Ok)?;
    let request = Mint {
        kind: TokenKind::Agent,
        realm,
        every_environment: false,
        agent,
        conversation: wanted.conversation_id,
        role: wanted.role,
        task: wanted.task,
        user: None,
        grant: Grant {
            tools: Vec::new(),
            operations: operations.clone(),
            budgets: vec![daily],
            may_delegate: false,
            may_store_secrets: false,
        },
        lifetime: Duration::from_secs(wanted.ttl_seconds),
    };
    Ok((request, operations))
}

/// The connection that is named, or the only one there is.
fn connection(door: &Door, realm: &Realm, name: Option<&str>) -> Result<Arc<Connection>, Refusal> {
    let connections = door.app.connections.load();
    let Some(name) = name else {
        let mut all = connections.iter().filter(|connection| connection.is_for(realm));
        return match (all.next(), all.next()) {
            (Some(only), None) => Ok(only.clone()),
            (None, _) => Err(bad("there is no connection that a key could be for")),
            (Some(_), Some(_)) => Err(bad("there are several connections; name one in connection")),
        };
    };
    connections
        .get(realm, name)
        .ok_or_else(|| bad("there is no such connection in this tenant and environment"))
}

/// The cap, whichever way it's written.
fn cap(wanted: &VaultKeyBody) -> Result<CapBody, Refusal> {
    match (&wanted.daily_cap_usd, &wanted.daily_cap) {
        (Some(usd), None) => match cents(usd.get()) {
            Some(amount) => Ok(CapBody { amount, currency: "usd".to_owned() }),
            None => Err(bad(
                "daily_cap_usd is not an amount of dollars: write a number of at most two decimals, as 500 or 12.50",
            )),
        },
        (None, Some(cap)) => Ok(CapBody { amount: cap.amount, currency: cap.currency.to_ascii_lowercase() }),
        (None, None) => Err(bad("say what may be spent in a day, with daily_cap_usd; 0 allows no writes")),
        (Some(_), Some(_)) => Err(bad("give daily_cap_usd or daily_cap, not both")),
    }
}

/// `500`, `12.5` and `12.50` in cents, exactly. No sign, no exponent, no third decimal.
fn cents(text: &str) -> Option<u64> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let cents: u64 = format!("{decimals:0<2}").parse().ok()?;
    whole.checked_mul(100)?.checked_add(cents)
}

fn bad(sentence: impl Into<String>) -> Refusal {
    Refusal::new(Code::BadRequest, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_cents_exactly() {
        for (text, amount) in [
            ("500", 50_000),
            ("500.0", 50_000),
            ("0", 0),
            ("0.0", 0),
            ("0.1", 10),
            ("0.29", 29),
            ("1.15", 115),
            ("4.35", 435),
            ("1099511627776.01", 109_951_162_777_601),
            ("184467440737095516.15", u64::MAX),
        ] {
            assert_eq!(cents(text), Some(amount), "{text}");
        }
        for bad in [
            "-1",
            "+1",
            "1e2",
            "1E2",
            "0.001",
            "12.500",
            ".5",
            "5.",
            "\"5\"",
            "null",
            "",
            "184467440737095516.16",
            "99999999999999999999",
            "1_000",
            "NaN",
        ] {
            assert_eq!(cents(bad), None, "{bad}");
        }
    }
}
