//! What is stopped, as operators write it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, CallId, ConnectionName, ConversationId, RoleName, TokenId, ToolName};

/// What a switch stops. Whose, and in which environment, stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// One call.
    Call(CallId),
    /// All calls of a conversation, whichever agents take part in it.
    Conversation(ConversationId),
    /// All calls of an agent, and of all that its tokens were delegated to.
    Agent(AgentId),
    /// All calls of a role, and of all that its tokens were delegated to.
    Role(RoleName),
    /// All calls of a tool.
    Tool(ToolName),
    /// All requests to a connection.
    Connection(ConnectionName),
    /// All calls with a token, and with all that were delegated from it.
    Token(TokenId),
    /// All calls of the tenant.
    Tenant,
    /// All calls of the host.
    Everything,
}

/// A text that names nothing that can be stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is nothing that can be stopped: write call:ID, conversation:ID, agent:NAME, role:NAME, tool:NAME, \
     connection:NAME, token:ID, tenant, or everything"
)]
pub struct InvalidScope(String);

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let parsed = match text.split_once(':') {
            None => match text {
                "tenant" => Some(Self::Tenant),
                "everything" => Some(Self::Everything),
                _ => None,
            },
            Some(("call", id)) => id.parse().ok().map(Self::Call),
            Some(("conversation", id)) => id.parse().ok().map(Self::Conversation),
            Some(("agent", name)) => name.parse().ok().map(Self::Agent),
            Some(("role", name)) => name.parse().ok().map(Self::Role),
            Some(("tool", name)) => name.parse().ok().map(Self::Tool),
            Some(("connection", name)) => name.parse().ok().map(Self::Connection),
            Some(("token", id)) => id.parse().ok().map(Self::Token),
            Some(_) => None,
        };
        parsed.ok_or_else(|| InvalidScope(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(id) => write!(f, "call:{id}"),
            Self::Conversation(id) => write!(f, "conversation:{id}"),
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Role(name) => write!(f, "role:{name}"),
            Self::Tool(name) => write!(f, "tool:{name}"),
            Self::Connection(name) => write!(f, "connection:{name}"),
            Self::Token(id) => write!(f, "token:{id}"),
            Self::Tenant => f.write_str("tenant"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "call:call_00000000000000000000000000000000",
            "conversation:c:1@x",
            "agent:billing",
            "role:biller",
            "tool:create_charge",
            "connection:stripe",
            "token:tok_000000000000000000000000",
            "tenant",
            "everything",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in [
            "",
            ":",
            "agent",
            "agent:",
            "agent:a b",
            "agent:a\n",
            "billing",
            "Tenant",
            "tenant:acme",
            "everything:",
            "call:1",
            "token:kbt_x",
            "tool:Create",
            "customer:c",
            "all",
        ] {
            let error = text.parse::<Scope>().unwrap_err().to_string();
            assert!(error.contains("connection:NAME"), "{error}");
        }
    }
}
