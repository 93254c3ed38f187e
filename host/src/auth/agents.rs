//! Agents that operators register: a record with a name, a role and whatever else its author says of it.

use serde_json::Value;

use super::{Auth, AuthError};
use crate::ids::{AgentId, RoleName};
use crate::reach::Reach;
use crate::store::{AgentRow, TokenRow};
use crate::text::{is_line, is_printable};

/// The longest name of an agent, in characters.
pub const AGENT_NAME_CHARS_MAX: usize = 128;

/// The longest description, in characters.
pub const AGENT_DESCRIPTION_CHARS_MAX: usize = 2_000;

/// The largest metadata, in bytes of JSON.
pub const AGENT_METADATA_BYTES_MAX: usize = 16 << 10;

/// At most so many agents of one environment, and of a tenant as a whole.
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
    /// Registers an agent for all that this reaches.
    ///
    /// # Errors
    /// [`AuthError::InvalidMint`] with a sentence that says what to change; [`AuthError::Store`].
    pub fn register(&self, reach: &Reach, wanted: Registration) -> Result<AgentRow, AuthError> {
        let role = check(&wanted)?;
        // Those of one environment leave room for another's.
        let beside = |row: &&AgentRow| row.environment.as_ref() == reach.environment();
        if self.store.agents(reach)?.iter().filter(beside).count() >= AGENTS_MAX {
            return invalid("there are 10000 agents already; remove those that aren't used any more");
        }
        let Registration { name, description, metadata } = wanted;
        let (tenant, environment) = (reach.tenant().clone(), reach.environment().cloned());
        let (id, created_at) = (AgentId::fresh(), self.clock.now());
        let row = AgentRow { id, tenant, environment, name, description, metadata, role, created_at };
        self.store.insert_agent(&row)?;
        Ok(row)
    }

    /// An agent within reach.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn agent(&self, reach: &Reach, id: &AgentId) -> Result<Option<AgentRow>, AuthError> {
        Ok(self.store.agent(reach, id)?)
    }

    /// The agents within reach, the oldest first.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    pub fn agents(&self, reach: &Reach) -> Result<Vec<AgentRow>, AuthError> {
        Ok(self.store.agents(reach)?)
    }

    /// Removes an agent and revokes its tokens within reach, and so all that was delegated from them. Answers the agent
    /// and the tokens that were revoked; `None` when no such agent is within reach.
    ///
    /// # Errors
    /// [`AuthError::Store`]; nothing has changed then.
    pub fn remove_agent(
        &self,
        reach: &Reach,
        id: &AgentId,
    ) -> Result<Option<(AgentRow, Vec<TokenRow>)>, AuthError> {
        Ok(self.store.remove_agent(reach, id, self.clock.now())?)
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
