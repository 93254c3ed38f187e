//! A connection in short, for lists and `connection check`. No secret is in it: a connection holds none.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Connection, Operation, Parameter};

/// A connection in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Where requests go.
    pub base_url: String,
    /// The label of its secret.
    pub secret: String,
    /// Whose secret that is: `operator` or `user`.
    pub secret_of: &'static str,
    /// How the secret is attached.
    pub attach: &'static str,
    /// The only certificate authorities it trusts, if it names any.
    pub ca_file: Option<String>,
    /// The tenants that may use it; empty for all.
    pub tenants: Vec<String>,
    /// The environments that may use it; empty for all.
    pub environments: Vec<String>,
    /// What loosens a rule, in words; empty for most.
    pub warnings: Vec<String>,
    /// What it can do.
    pub operations: Vec<OperationSummary>,
}

/// An operation in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperationSummary {
    /// Its name.
    pub name: String,
    /// Its method and path.
    pub request: String,
    /// `read` or `write`.
    pub effect: &'static str,
    /// Its parameters, as in `body.amount`; those that may be left out end in `?`, those that may be null in `or null`.
    pub parameters: Vec<String>,
}

impl Connection {
    /// The connection in short.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let names = |list: Option<Vec<String>>| list.unwrap_or_default();
        Summary {
            name: self.name.to_string(),
            base_url: self.base.to_string(),
            secret: self.secret.to_string(),
            secret_of: self.secret_of.as_str(),
            attach: self.attach.kind(),
            ca_file: self.ca.as_ref().map(|ca| ca.file().display().to_string()),
            tenants: names(self.tenants.as_ref().map(|all| all.iter().map(ToString::to_string).collect())),
            environments: names(
                self.environments.as_ref().map(|all| all.iter().map(ToString::to_string).collect()),
            ),
            warnings: self.warnings(),
            operations: self.operations.iter().map(|operation| operation.summary()).collect(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.allow_insecure_loopback {
            warnings
                .push("allow_insecure_loopback: requests may go to this machine, in clear too".to_owned());
        }
        if !self.allow_private.is_empty() {
            let ranges: Vec<_> = self.allow_private.iter().map(ToString::to_string).collect();
            warnings.push(format!("allow_private: requests may go to {}", ranges.join(", ")));
        }
        if self.attach.query_name().is_some() {
            warnings.push(
                "attach kind query: the secret is part of the URL, which upstreams tend to log".to_owned(),
            );
        }
        warnings
    }
}

impl Operation {
    fn summary(&self) -> OperationSummary {
        let listed = |place: &'static str, parameters: &BTreeMap<String, Parameter>| -> Vec<String> {
            let shown = |(name, p): (&String, &Parameter)| {
                let (optional, nullable) =
                    (if p.optional { "?" } else { "" }, if p.nullable { " or null" } else { "" });
                format!("{place}.{name}{optional}{nullable}")
            };
            parameters.iter().map(shown).collect()
        };
        OperationSummary {
            name: self.name.to_string(),
            request: format!("{} {}", self.method, self.path),
            effect: self.effect.as_str(),
            parameters: [
                listed("path", &self.path_parameters),
                listed("query", &self.query_parameters),
                listed("body", &self.body_parameters),
            ]
            .concat(),
        }
    }
}
