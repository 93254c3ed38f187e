//! The switches in force, found by what they stop.

use std::collections::HashMap;
use std::sync::Arc;

use super::Scope;
use crate::auth::Caller;
use crate::ids::{CallId, ConnectionName, ConversationId, Realm, ToolName};
use crate::store::KillRow;

/// All that a switch could stop a request by.
#[derive(Debug, Clone, Copy)]
pub struct Subjects<'a> {
    /// Whose it is.
    pub realm: &'a Realm,
    /// Who calls: each link of its chain with token, agent, role and conversation. `None`: nobody, it's the host that looks
    /// something up.
    pub caller: Option<&'a Caller>,
    /// The call.
    pub call: Option<&'a CallId>,
    /// The conversation, from the token or as the caller named it.
    pub conversation: Option<&'a ConversationId>,
    /// The tool, if one was called.
    pub tool: Option<&'a ToolName>,
    /// Where a request goes, if there's one.
    pub connection: Option<&'a ConnectionName>,
}

/// The switches in force.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_scope: HashMap<Scope, Vec<Arc<KillRow>>>,
}

impl Index {
    pub(super) fn new(rows: Vec<KillRow>) -> Self {
        let mut index = Self::default();
        for row in rows {
            index.by_scope.entry(row.scope.clone()).or_default().push(Arc::new(row));
        }
        index
    }

    /// A switch that stops one of these.
    pub(super) fn find(&self, subjects: &Subjects<'_>) -> Option<Arc<KillRow>> {
        // Nearly always.
        if self.by_scope.is_empty() {
            return None;
        }
        let hit = |scope: Scope| {
            self.by_scope.get(&scope)?.iter().find(|row| concerns(row, subjects.realm)).map(Arc::clone)
        };
        let of_request = || {
            hit(Scope::Everything)
                .or_else(|| hit(Scope::Tenant))
                .or_else(|| hit(Scope::Call(subjects.call?.clone())))
                .or_else(|| hit(Scope::Conversation(subjects.conversation?.clone())))
                .or_else(|| hit(Scope::Tool(subjects.tool?.clone())))
                .or_else(|| hit(Scope::Connection(subjects.connection?.clone())))
        };
        // Whoever delegated is asked too: a child must not outlast its parent's stop.
        let of_chain = || {
            subjects.caller?.chain().find_map(|link| {
                hit(Scope::Token(link.id.clone()))
                    .or_else(|| hit(Scope::Agent(link.agent.clone())))
                    .or_else(|| hit(Scope::Role(link.role.clone()?)))
                    .or_else(|| hit(Scope::Conversation(link.conversation.clone()?)))
            })
        };
        of_request().or_else(of_chain)
    }
}

fn concerns(row: &KillRow, realm: &Realm) -> bool {
    row.tenant.as_ref().is_none_or(|tenant| *tenant == realm.tenant)
        && row.environment.as_ref().is_none_or(|environment| *environment == realm.environment)
}
