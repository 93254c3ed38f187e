//! The names that policies know things by.
//!
//! Agents, roles, operators and environments carry their tenant in their id, so a rule for one tenant's agent never
//! meets another's of the same name.

use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid};

use crate::ids::{AgentId, ConnectionName, OperationName, Realm, RoleName, TenantId, ToolName};

macro_rules! types {
    ($($name:ident = $text:literal;)+) => {
        $(static $name: LazyLock<EntityTypeName> = LazyLock::new(|| type_name($text));)+
    };
}

types! {
    TENANT = "Tenant";
    ENVIRONMENT = "Environment";
    ROLE = "Role";
    AGENT = "Agent";
    OPERATOR = "Operator";
    CONNECTION = "Connection";
    TOOL = "Tool";
    API = "Api";
    ACTION = "Action";
}

/// `Tenant::"acme"`.
pub(super) fn tenant(tenant: &TenantId) -> EntityUid {
    uid(&TENANT, tenant.as_str())
}

/// `Environment::"acme/production"`.
pub(super) fn environment(realm: &Realm) -> EntityUid {
    uid(&ENVIRONMENT, &within(&realm.tenant, &realm.environment))
}

/// `Role::"acme/billing"`.
pub(super) fn role(tenant: &TenantId, role: &RoleName) -> EntityUid {
    uid(&ROLE, &within(tenant, role))
}

/// `Agent::"acme/bot-1"`.
pub(super) fn agent(tenant: &TenantId, agent: &AgentId) -> EntityUid {
    uid(&AGENT, &within(tenant, agent))
}

/// `Operator::"acme/ann"`.
pub(super) fn operator(tenant: &TenantId, name: &AgentId) -> EntityUid {
    uid(&OPERATOR, &within(tenant, name))
}

/// `Connection::"stripe"`.
pub(super) fn connection(name: &ConnectionName) -> EntityUid {
    uid(&CONNECTION, name.as_str())
}

/// `Tool::"create_charge"`.
pub(super) fn tool(name: &ToolName) -> EntityUid {
    uid(&TOOL, name.as_str())
}

/// `Api::"api://tasks/1"`.
pub(super) fn api(url: &str) -> EntityUid {
    uid(&API, url)
}

/// `Action::"…"`.
pub(super) fn action(id: &str) -> EntityUid {
    uid(&ACTION, id)
}

/// The id of an operation's action: `stripe:create_charge`.
pub(super) fn operation_action(connection: &ConnectionName, operation: &OperationName) -> String {
    format!("{connection}:{operation}")
}

/// The id of the action of running code that an agent wrote.
pub(super) const RUN_CODE: &str = "run_code";

/// What the id of a tool's action begins with.
pub(super) const CALL: &str = "call:";

/// The id of a tool's action: `call:create_charge`.
pub(super) fn call_action(tool: &ToolName) -> String {
    format!("{CALL}{tool}")
}

/// A text between quotes, spelt as Cedar spells it.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

#[expect(clippy::expect_used, reason = "the texts are constants of this program")]
fn type_name(text: &str) -> EntityTypeName {
    text.parse().expect("a constant type name is well formed")
}

fn within(tenant: &TenantId, name: &impl std::fmt::Display) -> String {
    format!("{tenant}/{name}")
}

fn uid(kind: &LazyLock<EntityTypeName>, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(EntityTypeName::clone(kind), EntityId::new(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_texts_read_back() {
        for text in ["a", "metadata[order]", "a\"b\\c", "tab\there", "é\u{202e}x", "", "\0"] {
            let shown = format!("Api::{}", quoted(text));
            assert_eq!(shown.parse::<EntityUid>().unwrap(), api(text), "{shown}");
        }
    }
}
