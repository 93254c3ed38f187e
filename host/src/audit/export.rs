//! Rows for people.

use std::fmt::{self, Write as _};

use crate::audit::{CallMark, Event, Row, TokenGiven};
use crate::connection::Cost;
use crate::ids::Digest;
use crate::ledger::money;
use crate::store::TokenKind;

/// A row as one line for a person. Text that callers chose is escaped, so a line is one line whatever it says.
#[must_use]
pub fn line(row: &Row) -> String {
    let mut line = format!("{:>8}  {}", row.seq, row.at);
    // Writing to a string can't fail.
    let _ = write_row(&mut line, row);
    line
}

fn write_row(to: &mut String, row: &Row) -> fmt::Result {
    match &row.realm {
        Some(realm) => write!(to, "  {realm}")?,
        None => to.push_str("  host"),
    }
    if let Some(call) = &row.call {
        write!(to, "  {call}")?;
    }
    match &row.event {
        Event::HostStarted { version, recovered } => {
            write!(to, "  host started  version={}  recovered={recovered}", version.escape_default())
        }
        Event::Checkpoint { row, calls } => write!(to, "  checkpoint  row={row}  open={}", calls.len()),
        Event::CallBegun(call) => {
            let what = call.tool.as_ref().map_or("(forwarded)", |tool| tool.as_str());
            write!(to, "  call begun  {what}  agent={}  token={}", call.agent, call.token)?;
            quoted(to, "task", call.task.as_deref())?;
            optional(to, "conversation", call.conversation.as_ref())?;
            optional(to, "turn", call.turn.as_ref())?;
            optional(to, "model_call", call.model_call.as_ref())?;
            write!(to, "  door={}", call.door.as_str())?;
            optional(to, "role", call.role.as_ref())?;
            optional(to, "component", call.component.as_ref().map(Digest::short))?;
            optional(to, "trace", call.trace.as_ref().map(|trace| trace.escape_default()))?;
            optional(to, "approval", call.approval.as_ref())?;
            optional(to, "policy", call.policy.as_ref().map(Digest::short))?;
            match call.arguments {
                Some(arguments) => {
                    write!(to, "  arguments={} ({} bytes)", arguments.short(), call.arguments_bytes)
                }
                None => Ok(()),
            }
        }
        Event::CallRefused(call) => {
            write!(
                to,
                "  call refused ({})  {:?}  agent={}  token={}",
                call.code.as_str(),
                call.tool,
                call.agent,
                call.token
            )?;
            optional(to, "conversation", call.conversation.as_ref())?;
            optional(to, "model_call", call.model_call.as_ref())?;
            optional(to, "policy", call.policy.as_ref().map(Digest::short))
        }
        Event::SendBegun(send) => {
            write!(to, "  send {} begun  {}:{}", send.send, send.connection, send.operation)?;
            optional(to, "cost", send.cost.as_ref().map(shown))?;
            if send.budgets > 0 {
                write!(to, "  budgets={}", send.budgets)?;
            }
            optional(to, "key", send.key.as_ref().map(|key| key.escape_default()))?;
            write!(to, "  secret={}", send.secret)?;
            optional(to, "user", send.user.as_ref())?;
            optional(to, "approval", send.approval.as_ref())?;
            write!(to, "  request={}", send.request.short())?;
            write!(to, "  body={} bytes  policy={}", send.body_bytes, send.policy.short())
        }
        Event::SendFinished(send) => {
            write!(to, "  send {} finished", send.send)?;
            optional(to, "status", send.status)?;
            optional(to, "failure", send.failure.map(|code| code.as_str()))?;
            write!(to, "  sent={}", send.request_sent.as_str())?;
            optional(to, "secret_version", send.secret_version)?;
            optional(to, "settlement", send.settlement.as_ref().map(|what| what.escape_default()))?;
            optional(to, "refunded", send.refunded.as_ref().map(shown))?;
            if let Some(reply) = &send.reply {
                write!(to, "  reply={} ({} bytes)", reply.short(), send.reply_bytes)?;
            }
            write!(to, "  {} ms", send.took_ms)
        }
        Event::SendRefused(send) => {
            write!(to, "  send refused  {}", send.connection.escape_default())?;
            if let Some(operation) = &send.known.operation {
                write!(to, ":{operation}")?;
            }
            optional(to, "cost", send.known.cost.as_ref().map(shown))?;
            write!(to, "  code={}", send.code.as_str())?;
            optional(to, "repeats", send.known.repeats.as_ref())?;
            optional(to, "policy", send.known.policy.as_ref().map(Digest::short))
        }
        Event::CallFinished(call) => {
            write!(to, "  call finished  {}", mark(call.mark))?;
            optional(to, "code", call.code.map(|code| code.as_str()))?;
            write!(to, "  sent={}  sends={}", call.request_sent.as_str(), call.sends)?;
            if let Some(result) = &call.result {
                write!(to, "  result={} ({} bytes)", result.short(), call.result_bytes)?;
            }
            write!(to, "  {} ms", call.took_ms)
        }
        Event::Approval(step) => {
            write!(to, "  approval {}  {}  by={}", step.step.as_str(), step.id, step.by)?;
            optional(to, "token", step.token.as_ref())?;
            optional(to, "conversation", step.conversation.as_ref())?;
            write!(to, "  fingerprint={}", step.fingerprint.digest().short())
        }
        Event::Decided(row) => {
            let [action, resource] = [&row.action, &row.resource].map(|text| text.escape_default());
            write!(to, "  decided  {}  {}  {action}  {resource}", row.id, row.decision.as_str())?;
            optional(to, "reason", row.reason.map(|code| code.as_str()))?;
            optional(to, "agent", row.agent.as_ref())?;
            optional(to, "token", row.token.as_ref())?;
            optional(to, "approval", row.approval.as_ref())?;
            optional(to, "policy", row.policy.as_ref().map(Digest::short))?;
            write!(to, "  by={}", row.by)
        }
        Event::ReconcileBegun(row) => {
            write!(to, "  reconcile begun  {}  by={}", row.hold, row.by.escape_default())
        }
        Event::Reconciled(row) => {
            write!(to, "  reconciled  {}  {}", row.hold, row.became.as_str())?;
            optional(to, "amount", row.amount.as_ref().map(shown))?;
            quoted(to, "why", row.why.as_deref())
        }
        Event::ShadowDiffered(row) => {
            write!(to, "  shadow differs  {}  {}", row.who, row.subject.escape_default())?;
            write!(to, "  live={}  candidate={}", row.live.as_str(), row.candidate.as_str())?;
            write!(to, "  policies={:?}  policy={}", row.policies, row.policy.short())
        }
        Event::Admin { action, subject, by, reason, token } => {
            let [action, subject, by] = [action, subject, by].map(|text| text.escape_default());
            write!(to, "  admin  {action}  {subject}  by={by}")?;
            optional(to, "reason", reason.as_ref().map(|reason| reason.escape_default()))?;
            token.as_deref().map_or(Ok(()), |token| write_given(to, token))
        }
    }
}

fn write_given(to: &mut String, token: &TokenGiven) -> fmt::Result {
    let holder = match token.kind {
        TokenKind::Agent => "agent",
        TokenKind::Operator => "operator",
        TokenKind::Monitor => "monitor",
    };
    optional(to, "minted_by", token.minted_by.as_ref())?;
    write!(to, "  {holder}={}", token.agent)?;
    optional(to, "role", token.role.as_ref())?;
    quoted(to, "task", token.task.as_deref())?;
    optional(to, "conversation", token.conversation.as_ref())?;
    optional(to, "user", token.user.as_ref())?;
    write!(to, "  expires={}", token.expires_at)?;
    if token.every_environment {
        to.push_str("  every_environment");
    }
    if token.kind == TokenKind::Agent {
        write!(to, "  may={}", token.grant)?;
    }
    if token.left_out > 0 {
        write!(to, "  and {} more", token.left_out)?;
    }
    Ok(())
}

/// `99.00 USD`.
fn shown(cost: &Cost) -> String {
    // By its rule a cost is at least zero.
    money::shown(cost.amount_minor.unsigned_abs(), &cost.currency)
}

/// A text of several words, in quotes.
fn quoted(to: &mut String, name: &str, text: Option<&str>) -> fmt::Result {
    text.map_or(Ok(()), |text| write!(to, "  {name}={text:?}"))
}

fn optional(to: &mut String, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(to, "  {name}={value}"))
}

fn mark(mark: CallMark) -> &'static str {
    match mark {
        CallMark::Ok => "ok",
        CallMark::Failed => "failed",
        CallMark::Cancelled => "cancelled",
        CallMark::Unknown => "unknown",
    }
}
