//! One thing that a connection can do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Serialize};

use super::cost::{CostRule, Place, RefundRule, SettleRule};
use super::parameter::Parameter;
use crate::egress::canonical_path;
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
    /// The one of them that is the whole JSON body, a list. `None`: the body is an object of them.
    pub body_is: Option<String>,
    /// What it costs.
    pub cost: Option<CostRule>,
    /// The parameter that names the customer whom it concerns, for budgets by customer.
    pub customer: Option<Place>,
    /// Where a reply says what was really spent.
    pub settle: Option<SettleRule>,
    /// Where a reply says what was given back, if that's what it does.
    pub refund: Option<RefundRule>,
    /// Whether the same write again is meant: it sets something, as an update does. Then it's never taken for a repetition.
    pub repeatable: bool,
    /// The field of the body that the host writes the conversation's id into, so that the vendor's own records show it.
    pub conversation_field: Option<String>,
    /// The field of the body that the host writes its key for the write into, so that the vendor's own records show it.
    pub key_field: Option<String>,
}

/// Whether an operation changes anything upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// Whether a path has this form, whatever its parameters hold.
    #[must_use]
    pub fn has_form(&self, segments: &[String]) -> bool {
        self.segments.len() == segments.len()
            && self.segments.iter().zip(segments).all(|(template, segment)| match template {
                Segment::Literal(text) => text == segment,
                Segment::Parameter(_) => !segment.is_empty(),
            })
    }
}

impl FromStr for PathTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let below = text.strip_prefix('/').ok_or("the path must start with '/'")?;
        let mut segments = Vec::new();
        for part in below.split('/') {
            if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                segments.push(Segment::Parameter(parameter_name(name, &segments)?));
            } else if part.contains(['{', '}']) {
                return Err(format!("a parameter takes a whole segment: {part:?} doesn't"));
            } else {
                segments.push(Segment::Literal(part.to_owned()));
            }
        }
        let template = Self { segments };
        template.literals_are_canonical()?;
        Ok(template)
    }
}

impl PathTemplate {
    /// A literal that no canonical path can hold would never match.
    fn literals_are_canonical(&self) -> Result<(), String> {
        let example: String = self
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => format!("/{text}"),
                Segment::Parameter(_) => "/x".to_owned(),
            })
            .collect();
        let canonical = canonical_path(&example)?;
        if canonical.encoded != example || example.contains('%') {
            return Err("the path's fixed parts must be written plainly, without percent-encoding".into());
        }
        Ok(())
    }
}

fn parameter_name(name: &str, before: &[Segment]) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(format!("a path parameter's name is letters, digits and '_', not {name:?}"));
    }
    if before.iter().any(|segment| matches!(segment, Segment::Parameter(other) if other == name)) {
        return Err(format!("the path parameter {{{name}}} is there twice"));
    }
    Ok(name.to_owned())
}

/// Whether one request could be either operation.
///
/// INVARIANT (one operation): no two operations of a connection overlap, so a request is one of them or none.
pub(super) fn overlap(a: &Operation, b: &Operation) -> bool {
    let could_be = |owner: &Operation, name: &str, text: &str| {
        !text.is_empty() && owner.path_parameters.get(name).is_none_or(|p| p.kind.of_text(text).is_ok())
    };
    a.method == b.method
        && a.path.segments.len() == b.path.segments.len()
        && a.path.segments.iter().zip(&b.path.segments).all(|pair| match pair {
            (Segment::Literal(x), Segment::Literal(y)) => x == y,
            (Segment::Parameter(name), Segment::Literal(text)) => could_be(a, name, text),
            (Segment::Literal(text), Segment::Parameter(name)) => could_be(b, name, text),
            // Two patterns may well exclude each other, but that isn't decided here: refused to be safe.
            (Segment::Parameter(_), Segment::Parameter(_)) => true,
        })
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => write!(f, "/{text}"),
            Segment::Parameter(name) => write!(f, "/{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_and_shown() {
        for text in ["/", "/v1/invoices/{id}", "/repos/{owner}/{repo}/issues", "/v1/x/", "/a:b/@c"] {
            assert_eq!(text.parse::<PathTemplate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn slips_in_templates_are_refused() {
        for text in [
            "",
            "v1",
            "//",
            "/a//b",
            "/{id}.json",
            "/{",
            "/{}",
            "/{a b}",
            "/{id}/{id}",
            "/a/../b",
            "/%41",
            "/a b",
            "/a?b",
            "/é",
        ] {
            assert!(text.parse::<PathTemplate>().is_err(), "{text:?} was taken");
        }
    }
}
