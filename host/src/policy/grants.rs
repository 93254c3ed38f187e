//! What a token carries: asked before any policy, at each use. The one place for it.

use super::ask::SendAsk;
use crate::auth::Caller;
use crate::connection::TypedSend;
use crate::ids::{ConnectionName, OperationName, ToolName};
use crate::refusal::{FailureReason, SendFailure};

/// Whether the token's grant names the tool, and that of every token above it.
pub(super) fn allow_tool(caller: &Caller, tool: &ToolName) -> bool {
    caller.allows_tool(tool)
}

/// Whether the token's grant names the operation, and that of every token above it.
pub(super) fn allow_operation(
    caller: &Caller,
    connection: &ConnectionName,
    operation: &OperationName,
) -> Result<(), SendFailure> {
    if caller.allows_operation(connection, operation) {
        return Ok(());
    }
    let message = format!("this token may not use the operation {connection}:{operation}");
    let cause = format!("smallest grant that would allow it: --operation {connection}:{operation}");
    Err(SendFailure::unsent(FailureReason::Denied, message).because(cause))
}

/// Whether the tool declares the connection, and the token's grant names the operation.
pub(super) fn allow_send(ask: &SendAsk<'_>, send: &TypedSend) -> Result<(), SendFailure> {
    let (connection, operation) = (send.connection_name(), send.operation_name());
    if ask.via.connections().is_some_and(|connections| !connections.contains(connection)) {
        let message = format!("this tool may not use the connection {connection}");
        let cause = format!("the tool doesn't declare {connection}, or no operator consented to it");
        return Err(SendFailure::unsent(FailureReason::Denied, message).because(cause));
    }
    allow_operation(ask.alive.caller(), connection, operation)
}

/// How many tokens are above this one: 0 for a token that an operator minted.
pub(super) fn depth(caller: &Caller) -> u32 {
    u32::try_from(caller.depth()).unwrap_or(u32::MAX)
}
