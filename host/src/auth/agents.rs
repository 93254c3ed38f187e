//! Agents that operators register: a record with a name, a role and whatever else its author says of it.

use serde_json::Value;

use super::{Auth, AuthError};
use crate::ids::{AgentId, RoleName, TenantId, TokenId};
use crate::store::AgentRow;
use crate::text::{is_line, is_printable};

/// The longest name of an agent, in characters.
pub const AGENT_NAME_CHARS_MAX: usize = 128;

/// The longest description, in characters.
pub const AGENT_DESCRIPTION_CHARS_MAX: usize = 2_000;

/// The largest metadata, in bytes of JSON.
pub const AGENT_METADATA_BYTES_MAX: usize = 16 << 10;

/// At most so many agents of one tenant.
pub const AGENTS_MAX: usize = 10_000;

/// An agent to be registered.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What it's called: one line.
    pub name: String,
    /// What it does.
    pub description: String,
    /// An object. Its member `role`, if that is a role's name, is the agent's role.
    pub metadata: Value,
}

impl Auth {
    /// Registers an agent.
    ///
    /// # Errors
    /// [`AuthError::InvalidMint`] with a sentence that says what to change; [`AuthError::Store`].
    pub fn register(&self, tenant: &TenantId, wanted: Registration) -> Result<AgentRow, AuthError> {
        let role = check(&wanted)?;
        if self.store.agents(tenant)?.len() >= AGENTS_MAX {
            return invalid("the tenant has 10000 agents; remove those that aren't used any more");
        }
        let Registration { name, description, metadata } = wanted;
        let (id, tenant, created_at) = (AgentId::fresh(), tenant.clone(), self.clock.now());
        let row = AgentRow { id, tenant, name, description, metadata, role, created_at };
        self.store.insert_agent(&row)?;
        Ok(row)
    }

    /// A tenant's agent.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<Option<AgentRow>, AuthError> {
        Ok(self.store.agent(tenant, id)?)
    }

    /// A tenant's agents, the oldest first.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn agents(&self, tenant: &TenantId) -> Result<Vec<AgentRow>, AuthError> {
        Ok(self.store.agents(tenant)?)
    }

    /// Removes an agent and revokes its tokens, and so all that was delegated from them. Answers the tokens that were
    /// revoked; `None` when the tenant has no such agent.
    ///
    /// # Errors
    /// [`AuthError::Store`]; some tokens may be revoked then, and the agent is still there.
    pub fn remove_agent(&self, tenant: &TenantId, id: &AgentId) -> Result<Option<Vec<TokenId>>, AuthError> {
        if self.store.agent(tenant, id)?.is_none() {
            return Ok(None);
        }
        let now = self.clock.now();
        let tokens = self.store.tokens(Some(tenant))?.into_iter();
        let live: Vec<_> = tokens
            .filter(|token| token.agent == *id && token.revoked_at.is_none() && token.expires_at > now)
            .map(|token| token.id)
            .collect();
        for token in &live {
            self.store.revoke_token(token, Some(tenant), now)?;
        }
        self.store.remove_agent(tenant, id)?;
        Ok(Some(live))
    }
}

fn check(wanted: &Registration) -> Result<Option<RoleName>, AuthError> {
    if !is_line(&wanted.name, AGENT_NAME_CHARS_MAX) {
        return invalid("the agent's name is not one line of 1 to 128 printable characters");
    }
    let description = &wanted.description;
    if description.chars().count() > AGENT_DESCRIPTION_CHARS_MAX
        || !description.chars().all(|c| is_printable(c) || c == '\n')
    {
        return invalid(
            "the agent's description is longer than 2000 characters, or some of them aren't printable",
        );
    }
    if !wanted.metadata.is_object() {
        return invalid("the agent's metadata is not an object");
    }
    if wanted.metadata.to_string().len() > AGENT_METADATA_BYTES_MAX {
        return invalid("the agent's metadata is larger than 16 KiB");
    }
    Ok(wanted.metadata.get("role").and_then(Value::as_str).and_then(|role| role.parse().ok()))
}

fn invalid<T>(sentence: &str) -> Result<T, AuthError> {
    Err(AuthError::InvalidMint(sentence.to_owned()))
}
