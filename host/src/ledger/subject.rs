//! Whom a budget limits.

use std::fmt;
use std::str::FromStr;

use super::SpendFacts;
use crate::ids::{AgentId, ConnectionName, ConversationId, Digest, InvalidName, RoleName, TenantId, TokenId};

/// The longest customer id that is kept as it is, in bytes. A longer one is counted under its digest.
const CUSTOMER_BYTES_MAX: usize = 128;

/// One whom a budget limits. It always belongs to one realm: nothing is counted across tenants or environments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A token.
    Token(TokenId),
    /// A conversation, whichever agents take part in it.
    Conversation(ConversationId),
    /// What an agent does outside of any conversation.
    NoConversation(AgentId),
    /// An agent, with all its tokens and all that was delegated from them.
    Agent(AgentId),
    /// A role.
    Role(RoleName),
    /// All that have no role.
    NoRole,
    /// A customer of the upstream's, as the request names it.
    Customer(String),
    /// All requests that could name a customer and don't.
    NoCustomer,
    /// An upstream.
    Connection(ConnectionName),
    /// The tenant, in one environment.
    Tenant,
}

/// Whom a budget of the operator's limits, as it's written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectRule {
    /// `each token`.
    EachToken,
    /// `each conversation`.
    EachConversation,
    /// `each agent`.
    EachAgent,
    /// `each role`.
    EachRole,
    /// `each customer`.
    EachCustomer,
    /// `tenant`: each tenant.
    Tenant,
    /// `tenant:acme`.
    OneTenant(TenantId),
    /// `token:tok_…`, `agent:billing` and so on: this one alone.
    One(Subject),
}

/// The forms that a subject may be written in.
pub const SUBJECT_FORMS: &str = "each token, each conversation, each agent, each role, each customer, tenant, token:ID, \
     conversation:ID, agent:NAME, role:NAME, customer:ID, connection:NAME, tenant:NAME";

impl Subject {
    /// A customer, by the id that a request names.
    #[must_use]
    pub fn customer(id: &str) -> Self {
        if id.len() <= CUSTOMER_BYTES_MAX {
            return Self::Customer(id.to_owned());
        }
        Self::Customer(Digest::of(id.as_bytes()).to_string())
    }

    /// What an agent that asks for too much is told of whose budget it was.
    pub(super) fn possessive(&self, own: bool) -> &'static str {
        match self {
            Self::Token(_) if own => "this token's",
            Self::Token(_) => "a parent token's",
            Self::Conversation(_) | Self::NoConversation(_) => "the conversation's",
            Self::Agent(_) => "the agent's",
            Self::Role(_) | Self::NoRole => "the role's",
            Self::Customer(_) | Self::NoCustomer => "the customer's",
            Self::Connection(_) => "the connection's",
            Self::Tenant => "the tenant's",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token:{id}"),
            Self::Conversation(id) => write!(f, "conversation:{id}"),
            Self::NoConversation(agent) => write!(f, "no conversation, agent:{agent}"),
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Role(name) => write!(f, "role:{name}"),
            Self::NoRole => f.write_str("no role"),
            Self::Customer(id) => write!(f, "customer:{id}"),
            Self::NoCustomer => f.write_str("no customer"),
            Self::Connection(name) => write!(f, "connection:{name}"),
            Self::Tenant => f.write_str("tenant"),
        }
    }
}

impl SubjectRule {
    /// Those whom it limits among those that a request concerns.
    pub(super) fn among(&self, facts: &SpendFacts<'_>) -> Vec<Subject> {
        let all = facts.subjects();
        let kind = |wanted: fn(&Subject) -> bool| all.iter().filter(|s| wanted(s)).cloned().collect();
        match self {
            Self::EachToken => kind(|s| matches!(s, Subject::Token(_))),
            Self::EachConversation => {
                kind(|s| matches!(s, Subject::Conversation(_) | Subject::NoConversation(_)))
            }
            Self::EachAgent => kind(|s| matches!(s, Subject::Agent(_))),
            Self::EachRole => kind(|s| matches!(s, Subject::Role(_) | Subject::NoRole)),
            Self::EachCustomer => kind(|s| matches!(s, Subject::Customer(_) | Subject::NoCustomer)),
            Self::Tenant => vec![Subject::Tenant],
            Self::OneTenant(tenant) if *tenant == facts.realm.tenant => vec![Subject::Tenant],
            Self::OneTenant(_) => Vec::new(),
            Self::One(one) => all.iter().filter(|s| *s == one).cloned().collect(),
        }
    }

    /// Whether it's about this subject, of this tenant.
    #[must_use]
    pub fn is_about(&self, subject: &Subject, tenant: &TenantId) -> bool {
        match (self, subject) {
            (Self::EachToken, Subject::Token(_))
            | (Self::EachConversation, Subject::Conversation(_) | Subject::NoConversation(_))
            | (Self::EachAgent, Subject::Agent(_))
            | (Self::EachRole, Subject::Role(_) | Subject::NoRole)
            | (Self::EachCustomer, Subject::Customer(_) | Subject::NoCustomer)
            | (Self::Tenant, Subject::Tenant) => true,
            (Self::OneTenant(one), Subject::Tenant) => one == tenant,
            (Self::One(one), subject) => one == subject,
            _ => false,
        }
    }
}

impl FromStr for SubjectRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = match text {
            "each token" => return Ok(Self::EachToken),
            "each conversation" => return Ok(Self::EachConversation),
            "each agent" => return Ok(Self::EachAgent),
            "each role" => return Ok(Self::EachRole),
            "each customer" => return Ok(Self::EachCustomer),
            "tenant" => return Ok(Self::Tenant),
            other => other,
        };
        if let Some(tenant) = named.strip_prefix("tenant:") {
            return tenant.parse().map(Self::OneTenant).map_err(|error: InvalidName| error.to_string());
        }
        match named.parse()? {
            Subject::NoConversation(_) | Subject::NoRole | Subject::NoCustomer => Err(nobody(text)),
            one => Ok(Self::One(one)),
        }
    }
}

/// The text of a subject, back.
impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "no role" => return Ok(Self::NoRole),
            "no customer" => return Ok(Self::NoCustomer),
            "tenant" => return Ok(Self::Tenant),
            _ => {}
        }
        let wrong = |error: InvalidName| error.to_string();
        let (kind, name) = text.split_once(':').ok_or_else(|| nobody(text))?;
        Ok(match kind {
            "token" => Self::Token(name.parse().map_err(wrong)?),
            "conversation" => Self::Conversation(name.parse().map_err(wrong)?),
            "no conversation, agent" => Self::NoConversation(name.parse().map_err(wrong)?),
            "agent" => Self::Agent(name.parse().map_err(wrong)?),
            "role" => Self::Role(name.parse().map_err(wrong)?),
            "connection" => Self::Connection(name.parse().map_err(wrong)?),
            "customer" if !name.is_empty() => Self::customer(name),
            _ => return Err(nobody(text)),
        })
    }
}

fn nobody(text: &str) -> String {
    format!("{text:?} is nobody that a budget can limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read() {
        assert_eq!("each agent".parse(), Ok(SubjectRule::EachAgent));
        assert_eq!("tenant:acme".parse(), Ok(SubjectRule::OneTenant("acme".parse().unwrap())));
        assert_eq!("customer:cus_1".parse(), Ok(SubjectRule::One(Subject::Customer("cus_1".to_owned()))));
        assert_eq!("agent:a:b".parse(), Ok(SubjectRule::One(Subject::Agent("a:b".parse().unwrap()))));
    }

    #[test]
    fn nobody_is_nobody() {
        for bad in
            ["", "each", "each tenant", "everyone", "agent", "agent:", "customer:", "role:Billing", "user:x"]
        {
            assert!(bad.parse::<SubjectRule>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_long_customer_is_counted_under_its_digest() {
        let long = "c".repeat(CUSTOMER_BYTES_MAX + 1);
        let Subject::Customer(text) = Subject::customer(&long) else { panic!() };
        assert!(text.starts_with("sha256:"));
        assert_ne!(Subject::customer(&long), Subject::customer(&format!("{long}c")));
    }
}
