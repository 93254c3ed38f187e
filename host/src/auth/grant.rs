//! What a token may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionName, InvalidName, OperationName, ToolName};
use crate::ledger::Budget;

/// The rights that a token carries. Empty lists allow nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The tools it may call.
    #[serde(default)]
    pub tools: Vec<ToolPattern>,
    /// The operations that those tools may use on its behalf.
    #[serde(default)]
    pub operations: Vec<OperationPattern>,
    /// What may be spent with it, and how often and how many at once it may be used. Every budget that applies to a
    /// request has to have room for it. None: only the operator's budgets hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// Whether tokens may be delegated from it. Each of them may do at most what this one may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_delegate: bool,
    /// Whether its holder may store, list and remove the own secrets of the user that the token is bound to. Nobody gets
    /// to read one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_store_secrets: bool,
}

impl Grant {
    /// Whether any pattern names this tool.
    #[must_use]
    pub fn allows_tool(&self, tool: &ToolName) -> bool {
        self.tools.iter().any(|pattern| match pattern {
            ToolPattern::Any => true,
            ToolPattern::Named(name) => name == tool,
        })
    }

    /// Whether any pattern names this operation.
    #[must_use]
    pub fn allows_operation(&self, connection: &ConnectionName, operation: &OperationName) -> bool {
        self.operations.iter().any(|pattern| match pattern {
            OperationPattern::AnyOf(name) => name == connection,
            OperationPattern::Named(name, one) => name == connection && one == operation,
        })
    }
}

impl Grant {
    /// Whether every tool that a pattern names is allowed.
    #[must_use]
    pub fn covers_tool(&self, pattern: &ToolPattern) -> bool {
        match pattern {
            ToolPattern::Any => self.tools.contains(&ToolPattern::Any),
            ToolPattern::Named(name) => self.allows_tool(name),
        }
    }

    /// Whether every operation that a pattern names is allowed.
    #[must_use]
    pub fn covers_operation(&self, pattern: &OperationPattern) -> bool {
        match pattern {
            OperationPattern::AnyOf(_) => self.operations.contains(pattern),
            OperationPattern::Named(connection, operation) => self.allows_operation(connection, operation),
        }
    }

    /// Whether any pattern names what a budget is on. One that names no connection is on all that there is.
    #[must_use]
    pub fn opens(&self, budget: &Budget) -> bool {
        match (&budget.connection, &budget.operation) {
            (None, _) => true,
            (Some(connection), Some(operation)) => self.allows_operation(connection, operation),
            (Some(connection), None) => self.operations.iter().any(|pattern| match pattern {
                OperationPattern::AnyOf(name) | OperationPattern::Named(name, _) => name == connection,
            }),
        }
    }
}

/// `get_invoice stripe:* [50000 usd day] delegate store-secrets`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools = self.tools.iter().map(ToString::to_string);
        let operations = self.operations.iter().map(ToString::to_string);
        let budgets = self.budgets.iter().map(|budget| format!("[{budget}]"));
        let delegate = self.may_delegate.then(|| "delegate".to_owned());
        let store = self.may_store_secrets.then(|| "store-secrets".to_owned());
        let all = tools.chain(operations).chain(budgets).chain(delegate).chain(store);
        f.write_str(&all.collect::<Vec<_>>().join(" "))
    }
}

/// `get_invoice`, or `*` for every tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ToolPattern {
    /// Every tool.
    Any,
    /// One tool.
    Named(ToolName),
}

impl FromStr for ToolPattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::Named) }
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Named(name) => name.fmt(f),
        }
    }
}

/// `stripe:get_invoice`, or `stripe:*` for all operations of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OperationPattern {
    /// Every operation of one connection.
    AnyOf(ConnectionName),
    /// One operation.
    Named(ConnectionName, OperationName),
}

impl FromStr for OperationPattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            what: "operation grant",
            value: text.chars().take(80).collect(),
            rule: "write CONNECTION:OPERATION, or CONNECTION:* for all operations of a connection",
        };
        let (connection, operation) = text.split_once(':').ok_or_else(invalid)?;
        let connection = connection.parse().map_err(|_| invalid())?;
        if operation == "*" {
            return Ok(Self::AnyOf(connection));
        }
        Ok(Self::Named(connection, operation.parse().map_err(|_| invalid())?))
    }
}

impl fmt::Display for OperationPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyOf(connection) => write!(f, "{connection}:*"),
            Self::Named(connection, operation) => write!(f, "{connection}:{operation}"),
        }
    }
}

macro_rules! as_string {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(pattern: $type) -> Self {
                pattern.to_string()
            }
        }
    };
}

as_string!(ToolPattern);
as_string!(OperationPattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(tools: &[&str], operations: &[&str]) -> Grant {
        Grant {
            tools: tools.iter().map(|t| t.parse().unwrap()).collect(),
            operations: operations.iter().map(|o| o.parse().unwrap()).collect(),
            ..Grant::default()
        }
    }

    #[test]
    fn an_empty_grant_allows_nothing() {
        let none = Grant::default();
        assert!(!none.allows_tool(&"t".parse().unwrap()));
        assert!(!none.allows_operation(&"c".parse().unwrap(), &"o".parse().unwrap()));
    }

    #[test]
    fn patterns_allow_what_they_name_alone() {
        let some = grant(&["get_invoice"], &["stripe:get_invoice", "github:*"]);
        assert!(some.allows_tool(&"get_invoice".parse().unwrap()));
        assert!(!some.allows_tool(&"get_invoices".parse().unwrap()));
        assert!(some.allows_operation(&"stripe".parse().unwrap(), &"get_invoice".parse().unwrap()));
        assert!(!some.allows_operation(&"stripe".parse().unwrap(), &"create_charge".parse().unwrap()));
        assert!(some.allows_operation(&"github".parse().unwrap(), &"create_issue".parse().unwrap()));
    }

    #[test]
    fn a_grant_is_shown_on_one_line() {
        let some = Grant {
            budgets: vec!["500 usd day".parse().unwrap()],
            may_delegate: true,
            may_store_secrets: true,
            ..grant(&["*"], &["stripe:get_invoice", "github:*"])
        };
        let line = "* stripe:get_invoice github:* [500 usd day] delegate store-secrets";
        assert_eq!((some.to_string().as_str(), Grant::default().to_string().as_str()), (line, ""));
    }

    #[test]
    fn budgets_are_on_what_a_grant_opens() {
        let some = grant(&[], &["stripe:get_invoice", "github:*"]);
        for (budget, opened) in [
            ("1 usd day", true),
            ("1 usd day connection=stripe", true),
            ("1 usd day connection=stripe operation=get_invoice", true),
            ("1 usd day connection=github operation=create_issue", true),
            ("1 usd day connection=stripe operation=create_charge", false),
            ("1 usd day connection=strpe", false),
        ] {
            assert_eq!(some.opens(&budget.parse().unwrap()), opened, "{budget}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for bad in ["", "*", "*:*", "stripe", "stripe:", "stripe:a:b", "stripe:get*", ":x"] {
            assert!(bad.parse::<OperationPattern>().is_err(), "{bad:?}");
        }
        assert!("get*".parse::<ToolPattern>().is_err());
        assert!(serde_json::from_str::<Grant>(r#"{"tool": []}"#).is_err());
    }
}
