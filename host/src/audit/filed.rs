//! What a row is filed under, so that it's found without reading all of them.

use crate::audit::{Event, Step};
use crate::ids::AgentId;
use crate::store::{AuditRecord, Filed};

/// The events that say whose they are. The other rows of a call are found by its id.
const FILED: [&str; 5] = ["call_begun", "call_refused", "approval", "decided", "admin"];

/// As an event says.
pub(super) fn of(event: &Event) -> Filed {
    match event {
        Event::CallBegun(call) => Filed {
            token: Some(call.token.clone()),
            agent: Some(call.agent.clone()),
            conversation: call.conversation.clone(),
        },
        Event::CallRefused(call) => Filed {
            token: Some(call.token.clone()),
            agent: Some(call.agent.clone()),
            conversation: call.conversation.clone(),
        },
        // It may come before the row that its call begins or is refused with, so it's found as that is. The other steps are
        // part of a call that began, or of none.
        Event::Approval(step) if step.step == Step::Asked => Filed {
            token: step.token.clone(),
            agent: Some(step.by.clone()),
            conversation: step.conversation.clone(),
        },
        Event::Decided(row) => {
            Filed { token: row.token.clone(), agent: row.agent.clone(), conversation: None }
        }
        // What was done to a token or an agent, and not who did it.
        Event::Admin { action, subject, token, .. } => {
            let given = token.as_deref();
            let (of, _) = action.split_once('.').unwrap_or_default();
            let agent: Option<AgentId> = (of == "agent").then(|| subject.parse().ok()).flatten();
            Filed {
                token: (of == "token").then(|| subject.parse().ok()).flatten(),
                agent: agent.or_else(|| given.map(|token| token.agent.clone())),
                conversation: given.and_then(|token| token.conversation.clone()),
            }
        }
        Event::HostStarted { .. }
        | Event::Checkpoint { .. }
        | Event::SendBegun(_)
        | Event::SendFinished(_)
        | Event::SendRefused(_)
        | Event::CallFinished(_)
        | Event::Approval(_)
        | Event::ReconcileBegun(_)
        | Event::Reconciled(_)
        | Event::ShadowDiffered(_) => Filed::default(),
    }
}

/// What a record should be filed under. Only the events that say it are parsed.
pub(super) fn said(record: &AuditRecord) -> Result<Filed, serde_json::Error> {
    let name = record.event.strip_prefix(r#"{"event":""#).and_then(|rest| rest.split('"').next());
    if name.is_some_and(|name| FILED.contains(&name)) {
        return serde_json::from_str(&record.event).map(|event| of(&event));
    }
    Ok(Filed::default())
}
