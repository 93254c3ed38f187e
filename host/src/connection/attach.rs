//! How a connection's secret is put on a request.

use serde::{Deserialize, Serialize};

/// How the secret is attached.
///
/// Names were checked when the connection was loaded: a header name is lower-case and no header that frames or
/// routes a request; neither a header nor a query name can also be given by a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Attach {
    /// `Authorization: Bearer SECRET`.
    Bearer,
    /// `Authorization: Basic …`.
    Basic {
        /// The user name, with the secret as its password. `None`: the secret is the user name and the password
        /// is empty, as Stripe has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// A header of its own.
    Header {
        /// The header's name, in lower case.
        name: String,
        /// What comes before the secret, a space included where there's to be one: `token ` for example.
        #[serde(default)]
        prefix: String,
    },
    /// A query parameter.
    Query {
        /// The parameter's name.
        name: String,
    },
}

impl Attach {
    /// The header that this kind writes, in lower case.
    #[must_use]
    pub fn header_name(&self) -> Option<&str> {
        match self {
            Self::Bearer | Self::Basic { .. } => Some("authorization"),
            Self::Header { name, .. } => Some(name),
            Self::Query { .. } => None,
        }
    }

    /// The query parameter that this kind writes.
    #[must_use]
    pub fn query_name(&self) -> Option<&str> {
        match self {
            Self::Query { name } => Some(name),
            _ => None,
        }
    }

    /// `bearer`, `basic`, `header` or `query`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic { .. } => "basic",
            Self::Header { .. } => "header",
            Self::Query { .. } => "query",
        }
    }
}
