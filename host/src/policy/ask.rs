//! What the policy is asked of a request to an upstream, and what it answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CallContext, Permitted};
use crate::approval::Approved;
use crate::auth::Alive;
use crate::clock::Millis;
use crate::connection::TypedSend;
use crate::egress::SendFailure;
use crate::ids::{ConnectionName, Digest, ToolName};

/// The way that a request came.
#[derive(Debug, Clone)]
pub enum Via {
    /// A tool drafted it.
    Tool {
        /// The tool.
        name: ToolName,
        /// The component that it's part of.
        component: Digest,
        /// The connections that the tool declares and the operator consented to.
        connections: Arc<[ConnectionName]>,
    },
    /// A vendor's SDK sent it to the proxy door.
    Proxy,
}

/// The kind of door that a call came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// A tool was called.
    Tool,
    /// A request was forwarded as it came.
    Proxy,
}

impl Via {
    /// The door.
    #[must_use]
    pub fn door(&self) -> Door {
        match self {
            Self::Tool { .. } => Door::Tool,
            Self::Proxy => Door::Proxy,
        }
    }

    /// The tool, if one drafted it.
    #[must_use]
    pub fn tool(&self) -> Option<&ToolName> {
        match self {
            Self::Tool { name, .. } => Some(name),
            Self::Proxy => None,
        }
    }
}

/// Who asks for a request, how, and when.
#[derive(Debug, Clone, Copy)]
pub struct SendAsk<'a> {
    /// The caller, its token checked a moment ago.
    pub alive: &'a Alive<'a>,
    /// What the caller says of its call.
    pub context: &'a CallContext,
    /// The way that it came.
    pub via: &'a Via,
    /// The time.
    pub now: Millis,
    /// What people decided of exactly this request, if they did.
    pub approved: Option<&'a Approved>,
}

/// What the policy says of a request.
#[derive(Debug)]
pub enum Verdict {
    /// Yes.
    Permitted(Permitted<TypedSend>),
    /// Yes, as soon as so many people agree.
    NeedsApproval {
        /// The request, given back.
        send: TypedSend,
        /// How many.
        quorum: u32,
    },
    /// No.
    Denied(SendFailure),
}
