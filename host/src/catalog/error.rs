//! Why a component isn't offered.

use std::fmt;
use std::io;

use crate::catalog::check::{COMPONENT_NAME_RULE, DESCRIPTION_CHARS_MAX, TOOLS_MAX};
use crate::catalog::sandbox::SANDBOX_TOOL;
use crate::ids::{ConnectionName, Digest, ToolName};
use crate::runtime::RuntimeError;
use crate::store::{ComponentKind, StoreError};

/// Why a component isn't taken or offered, or the catalog can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The component doesn't compile, link or describe itself.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Its name, the operator's choice, isn't one.
    #[error("the component name {0:?} is not valid: {COMPONENT_NAME_RULE}")]
    ComponentName(String),
    /// It offers nothing.
    #[error("the component describes no tool")]
    NoTools,
    /// It offers too much.
    #[error("the component describes {0} tools; at most {TOOLS_MAX} are taken")]
    TooManyTools(usize),
    /// Something is wrong with one of its tools.
    #[error("tool {tool:?}: {problem}")]
    Tool {
        /// The tool's name as the component gives it, cut and escaped.
        tool: String,
        /// What is wrong with it.
        problem: ToolProblem,
    },
    /// Another component has a tool of this name.
    #[error("the tool {tool} is offered by the component {by:?} ({}) already; remove that one first, or rename the tool", digest.short())]
    NameTaken {
        /// The tool.
        tool: ToolName,
        /// The component that has it.
        by: String,
        /// That component's digest.
        digest: Digest,
    },
    /// The operator consents to what nothing asks for: most likely a slip.
    #[error("no tool of the component declares the connection {connection}; declared: {declared}")]
    NotDeclared {
        /// The connection.
        connection: ConnectionName,
        /// Those that are declared.
        declared: String,
    },
    /// It has the name of a sandbox's tool and isn't fit to be one.
    #[error(
        "a component with the tool {SANDBOX_TOOL} runs code that agents write, and this one isn't fit for that: {0}"
    )]
    Unfit(#[from] SandboxProblem),
    /// It's no sandbox.
    #[error("this is no sandbox: it has no tool {SANDBOX_TOOL}; `keybearer tool add` adds tools")]
    NotASandbox,
    /// It's a sandbox.
    #[error(
        "this is a sandbox: its tool {SANDBOX_TOOL} runs code that agents write, so it isn't added as a tool; \
         `keybearer sandbox add` adds it"
    )]
    IsASandbox,
    /// Another kind of component has its name.
    #[error("the name {name:?} is that of a {}; remove that one first, or give another name", kind.as_str())]
    OtherKind {
        /// The name.
        name: String,
        /// What has it.
        kind: ComponentKind,
    },
    /// The bytes aren't those that the operator consented to.
    #[error(
        "the component's bytes have the digest {found}, but {expected} was added; add it again if the change is wanted"
    )]
    OtherBytes {
        /// The digest that was consented to.
        expected: Digest,
        /// The digest of the bytes that are there.
        found: Digest,
    },
    /// It describes itself otherwise than when it was added.
    #[error(
        "the component describes itself otherwise than when it was added; add it again if the change is wanted"
    )]
    OtherDescription,
    /// It describes itself otherwise than when it was shown, by the same bytes.
    #[error(
        "the component describes itself otherwise each time, so what was shown isn't what would be added; nothing was \
         added, and it shouldn't be trusted"
    )]
    Unsteady,
    /// A file can't be read or written.
    #[error("{what}: {error}")]
    File {
        /// Which file, and what was to be done with it.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
    /// The host failed.
    #[error("the host failed: {0}")]
    Host(String),
}

/// What may be wrong with one tool.
#[derive(Debug, thiserror::Error)]
pub enum ToolProblem {
    /// The name.
    #[error("the name is not valid: {0}")]
    Name(&'static str),
    /// Two tools of the component share it.
    #[error("the component describes two tools of this name")]
    Duplicate,
    /// There's no description.
    #[error("the description is empty; say what the tool does and when to use it")]
    NoDescription,
    /// The description is too long.
    #[error("the description has {0} characters; at most {DESCRIPTION_CHARS_MAX} are taken")]
    LongDescription(usize),
    /// The description could drive a terminal, or hide text.
    #[error("the description has the character {}, which can't be seen; take it out", .0.escape_unicode())]
    Hidden(char),
    /// A schema.
    #[error("{which} schema, {error}")]
    Schema {
        /// `input` or `output`.
        which: &'static str,
        /// What is wrong.
        error: crate::dto::SchemaError,
    },
    /// A connection's name.
    #[error("{0}")]
    Connection(crate::ids::InvalidName),
    /// A connection that is declared twice.
    #[error("the connection {0} is declared twice")]
    DuplicateConnection(ConnectionName),
    /// Too many connections.
    #[error("{0} connections are declared; at most {max} are taken", max = crate::catalog::check::CONNECTIONS_MAX)]
    ManyConnections(usize),
}

/// Why a component can't be a sandbox, though its tool has the name.
#[derive(Debug, thiserror::Error)]
pub enum SandboxProblem {
    /// It has other tools as well.
    #[error("it describes {0} tools; a sandbox has that one alone")]
    MoreTools(usize),
    /// It declares a connection.
    #[error(
        "it declares the connection {0}; a sandbox declares none: which ones code may use is the operator's choice"
    )]
    Connection(ConnectionName),
    /// Its input.
    #[error("its input must be {{code: string}}, required and alone")]
    Input,
    /// Its output.
    #[error("its output must be {{exit_code: integer, output: string, result?: string}}, and no more")]
    Output,
}

/// A component that the operator added and that isn't offered.
#[derive(Debug)]
pub struct Problem {
    /// The operator's name for it.
    pub component: String,
    /// Its digest.
    pub digest: Digest,
    /// What is wrong.
    pub error: CatalogError,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component {:?} ({}) is not offered: {}", self.component, self.digest.short(), self.error)
    }
}
