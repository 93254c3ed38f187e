//! What makes a component fit to run code that agents write.
//!
//! INVARIANT (one kind): a component that describes a tool of this name is a sandbox and nothing else is one. So code
//! can't be run under the fewer checks that a tool gets, whatever the operator types, and whatever a row in the store
//! says.

use serde_json::Value;

use crate::catalog::check::Offer;
use crate::catalog::error::SandboxProblem;
use crate::store::ComponentKind;

/// The name of a sandbox's one tool.
pub const SANDBOX_TOOL: &str = "run_python";

/// What a component is, by what it offers.
///
/// # Errors
/// What keeps it from being a sandbox, when one of its tools has the name of a sandbox's.
pub(super) fn kind(offers: &[Offer]) -> Result<ComponentKind, SandboxProblem> {
    if !offers.iter().any(|offer| offer.name.as_str() == SANDBOX_TOOL) {
        return Ok(ComponentKind::Tool);
    }
    let [offer] = offers else { return Err(SandboxProblem::MoreTools(offers.len())) };
    if let Some(connection) = offer.connections.first() {
        return Err(SandboxProblem::Connection(connection.clone()));
    }
    if !is_closed_object(offer.input.value(), &[("code", "string", true)]) {
        return Err(SandboxProblem::Input);
    }
    let output = [("exit_code", "integer", true), ("output", "string", true), ("result", "string", false)];
    if !is_closed_object(offer.output.value(), &output) {
        return Err(SandboxProblem::Output);
    }
    Ok(ComponentKind::Sandbox)
}

/// Whether an object of this schema has these members and no others: name, type, whether it's required. That it's closed
/// was checked when it was compiled.
fn is_closed_object(schema: &Value, members: &[(&str, &str, bool)]) -> bool {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.is_some_and(|properties| {
        properties.len() == members.len()
            && members.iter().all(|(name, kind, needed)| {
                properties
                    .get(*name)
                    .and_then(|property| property.get("type"))
                    .is_some_and(|found| found == kind)
                    && required.contains(name) == *needed
            })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalog::check::offers;
    use crate::runtime::Described;

    pub(crate) const INPUT: &str = r#"{"type":"object","properties":{"code":{"type":"string"}},"required":["code"],"additionalProperties":false}"#;
    pub(crate) const OUTPUT: &str = r#"{"type":"object","properties":{"exit_code":{"type":"integer"},"output":{"type":"string"},"result":{"type":"string"}},"required":["exit_code","output"],"additionalProperties":false}"#;

    fn sandbox() -> Described {
        Described {
            name: SANDBOX_TOOL.to_owned(),
            description: "Runs Python.".to_owned(),
            input_schema: INPUT.to_owned(),
            output_schema: OUTPUT.to_owned(),
            connections: Vec::new(),
        }
    }

    fn refused(change: impl FnOnce(&mut Described)) -> String {
        let mut tool = sandbox();
        change(&mut tool);
        kind(&offers(&[tool]).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn the_name_makes_the_kind() {
        assert_eq!(kind(&offers(&[sandbox()]).unwrap()).unwrap(), ComponentKind::Sandbox);
        let other = Described { name: "run_code".to_owned(), ..sandbox() };
        assert_eq!(kind(&offers(&[other]).unwrap()).unwrap(), ComponentKind::Tool);
        let described = INPUT.replace(r#"{"type":"string"}"#, r#"{"type":"string","description":"Python."}"#);
        let described = Described { input_schema: described, ..sandbox() };
        assert_eq!(kind(&offers(&[described]).unwrap()).unwrap(), ComponentKind::Sandbox);
    }

    #[test]
    fn whatever_else_has_the_name_is_refused() {
        let both = [sandbox(), Described { name: "other".to_owned(), ..sandbox() }];
        let many = kind(&offers(&both).unwrap()).unwrap_err().to_string();
        assert!(many.contains("2 tools"), "{many}");
        let greedy = refused(|tool| tool.connections = vec!["stripe".to_owned()]);
        assert!(greedy.contains("declares the connection stripe"), "{greedy}");
        for (from, to) in [
            (r#""code""#, r#""source""#),
            (r#"{"type":"string"}"#, r#"{"type":"integer"}"#),
            (r#""required":["code"]"#, r#""required":[]"#),
            (r#"}},"required""#, r#"},"more":{"type":"string"}},"required""#),
        ] {
            let message = refused(|tool| tool.input_schema = INPUT.replacen(from, to, 9));
            assert!(message.contains("input"), "{to}: {message}");
        }
        for (from, to) in [
            (r#""exit_code":{"type":"integer"}"#, r#""exit_code":{"type":"string"}"#),
            (r#","result":{"type":"string"}"#, ""),
            (r#"["exit_code","output"]"#, r#"["exit_code"]"#),
            (r#"["exit_code","output"]"#, r#"["exit_code","output","result"]"#),
            (r#"}},"required""#, r#"},"more":{"type":"string"}},"required""#),
        ] {
            let message = refused(|tool| tool.output_schema = OUTPUT.replacen(from, to, 1));
            assert!(message.contains("output"), "{to}: {message}");
        }
    }
}
