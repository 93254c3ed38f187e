//! One thing that a connection can do.

use std::collections::BTreeMap;
use std::fmt;

use http::Method;
use serde::Serialize;

use super::cost::CostRule;
use super::parameter::Parameter;
use crate::ids::OperationName;

/// One operation: what a request must look like to be it, and what it does.
#[derive(Debug)]
#[non_exhaustive]
pub struct Operation {
    /// Its name.
    pub name: OperationName,
    /// Its method.
    pub method: Method,
    /// Its path below the base URL.
    pub path: PathTemplate,
    /// Whether it changes anything upstream.
    pub effect: Effect,
    /// The media type of its body. `None`: it has no body.
    pub content_type: Option<String>,
    /// The parameters in the path, by name: exactly those that the template names.
    pub path_parameters: BTreeMap<String, Parameter>,
    /// The query parameters, by name.
    pub query_parameters: BTreeMap<String, Parameter>,
    /// The fields of a form, or the top-level properties of a JSON body, by name.
    pub body_parameters: BTreeMap<String, Parameter>,
    /// What it costs.
    pub cost: Option<CostRule>,
}

/// Whether an operation changes anything upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It only looks.
    Read,
    /// It changes something.
    Write,
}

impl Effect {
    /// `read` or `write`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// `/v1/invoices/{id}`: literal segments and whole-segment parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    segments: Vec<Segment>,
}

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A text, decoded, that must be there as it is. Empty only at the end: a path that ends with a slash.
    Literal(String),
    /// A parameter of this name.
    Parameter(String),
}

impl PathTemplate {
    /// Its segments, at least one.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => write!(f, "/{text}"),
            Segment::Parameter(name) => write!(f, "/{{{name}}}"),
        })
    }
}
