//! What is stopped, as operators write it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, CallId, ConnectionName, ConversationId, InvalidName, RoleName, TokenId, ToolName};

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
pub enum InvalidScope {
    /// There's nothing of this kind, cut to 80 characters.
    #[error(
        "{0:?} is nothing that can be stopped: write call:ID, conversation:ID, agent:NAME, role:NAME, tool:NAME, \
         connection:NAME, token:ID, tenant, or everything"
    )]
    Kind(String),
    /// The name or id of this kind isn't one. It isn't repeated, since it may be a token.
    #[error("what stands after `{kind}:` names no {kind}: {rule}")]
    Name {
        /// What stands before the colon.
        kind: &'static str,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// This is a scope by itself.
    #[error("`{0}` stands alone, without a name after it")]
    Alone(&'static str),
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let unknown = |kind: &str| InvalidScope::Kind(kind.chars().take(80).collect());
        let Some((kind, name)) = text.split_once(':') else {
            return match text {
                "tenant" => Ok(Self::Tenant),
                "everything" => Ok(Self::Everything),
                _ => Err(unknown(text)),
            };
        };
        match kind {
            "call" => named("call", name).map(Self::Call),
            "conversation" => named("conversation", name).map(Self::Conversation),
            "agent" => named("agent", name).map(Self::Agent),
            "role" => named("role", name).map(Self::Role),
            "tool" => named("tool", name).map(Self::Tool),
            "connection" => named("connection", name).map(Self::Connection),
            "token" => named("token", name).map(Self::Token),
            "tenant" => Err(InvalidScope::Alone("tenant")),
            "everything" => Err(InvalidScope::Alone("everything")),
            _ => Err(unknown(kind)),
        }
    }
}

fn named<T: FromStr<Err = InvalidName>>(kind: &'static str, name: &str) -> Result<T, InvalidScope> {
    name.parse().map_err(|error: InvalidName| InvalidScope::Name { kind, rule: error.rule })
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
        for text in ["", ":", "agent", "billing", "Tenant", "customer:c", "all", "\u{e9}:x"] {
            let error = text.parse::<Scope>().unwrap_err().to_string();
            assert!(error.contains("connection:NAME"), "{error}");
        }
        for (text, told) in [
            ("agent:", "names no agent: use 1 to 128 letters"),
            ("agent:a b", "names no agent: use 1 to 128 letters"),
            ("agent:a\n", "names no agent: use 1 to 128 letters"),
            ("conversation:", "names no conversation: use 1 to 128 letters"),
            ("role:A", "names no role: use 1 to 64 lower-case letters"),
            ("tool:Create", "names no tool: use a lower-case letter"),
            ("connection:A", "names no connection: use 1 to 64 lower-case letters"),
            ("call:1", "names no call: it is 'call_' and 32 lower-case hexadecimal digits"),
            ("token:kbt_x", "names no token: it is 'tok_' and 24 lower-case hexadecimal digits"),
        ] {
            let error = text.parse::<Scope>().unwrap_err().to_string();
            let (kind, _) = text.split_once(':').unwrap();
            assert!(error.starts_with(&format!("what stands after `{kind}:` ")), "{error}");
            assert!(error.contains(told) && !error.contains("kbt_"), "{error}");
        }
        for (text, told) in
            [("tenant:acme", "`tenant` stands alone"), ("everything:", "`everything` stands alone")]
        {
            assert!(text.parse::<Scope>().unwrap_err().to_string().starts_with(told));
        }
    }
}
