//! What the policy is asked of a request to an upstream, and what it answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Approved, CallContext, Permitted};
use crate::auth::Alive;
use crate::clock::Millis;
use crate::connection::TypedSend;
use crate::ids::{ConnectionName, Digest, ToolName};
use crate::refusal::SendFailure;

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
    /// Code that an agent wrote drafted it, in a sandbox.
    Code {
        /// The sandbox's tool.
        name: ToolName,
        /// The sandbox.
        component: Digest,
        /// The connections that the operator lets code use there.
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
    /// Code that an agent wrote was run.
    Code,
    /// A request was forwarded as it came.
    Proxy,
}

impl Door {
    /// `tool`, `code` or `proxy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Code => "code",
            Self::Proxy => "proxy",
        }
    }
}

impl Via {
    /// The door.
    #[must_use]
    pub fn door(&self) -> Door {
        match self {
            Self::Tool { .. } => Door::Tool,
            Self::Code { .. } => Door::Code,
            Self::Proxy => Door::Proxy,
        }
    }

    /// The tool, if one drafted it.
    #[must_use]
    pub fn tool(&self) -> Option<&ToolName> {
        match self {
            Self::Tool { name, .. } | Self::Code { name, .. } => Some(name),
            Self::Proxy => None,
        }
    }

    /// The connections that may be used. `None`: this way has no list of its own.
    #[must_use]
    pub fn connections(&self) -> Option<&[ConnectionName]> {
        match self {
            Self::Tool { connections, .. } | Self::Code { connections, .. } => Some(connections),
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
        /// The hash of the policies that want them.
        policy: Digest,
    },
    /// No.
    Denied {
        /// Why.
        failure: SendFailure,
        /// The hash of the policies in force.
        policy: Digest,
    },
}

impl Verdict {
    /// The hash of the policies in force when it was given.
    #[must_use]
    pub fn policy(&self) -> Digest {
        match self {
            Self::Permitted(permit) => permit.policy(),
            Self::NeedsApproval { policy, .. } | Self::Denied { policy, .. } => *policy,
        }
    }
}
