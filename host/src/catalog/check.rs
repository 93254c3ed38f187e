//! What a component may say of itself.

use std::collections::BTreeSet;

use crate::catalog::CatalogError;
use crate::catalog::error::ToolProblem;
use crate::dto::{InputSchema, OutputSchema};
use crate::ids::{ConnectionName, ToolName};
use crate::runtime::Described;
use crate::text::is_printable;

/// Tools in one component. Each is part of every prompt that offers it.
pub const TOOLS_MAX: usize = 64;
/// A tool's description, in characters: the limit that model providers set.
pub const DESCRIPTION_CHARS_MAX: usize = 1024;
/// Connections that one tool may declare.
pub(super) const CONNECTIONS_MAX: usize = 32;
/// The rule for component names.
pub(super) const COMPONENT_NAME_RULE: &str =
    "use 1 to 64 lower-case letters, digits, '-' and '_', starting with a letter or digit";

/// A tool whose description is sound.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) name: ToolName,
    pub(super) description: String,
    pub(super) input: InputSchema,
    pub(super) output: OutputSchema,
    pub(super) connections: Vec<ConnectionName>,
}

/// Checks all that a component says of its tools.
pub(super) fn offers(described: &[Described]) -> Result<Vec<Offer>, CatalogError> {
    if described.is_empty() {
        return Err(CatalogError::NoTools);
    }
    if described.len() > TOOLS_MAX {
        return Err(CatalogError::TooManyTools(described.len()));
    }
    let mut names = BTreeSet::new();
    let mut offers = Vec::with_capacity(described.len());
    for tool in described {
        let failed = |problem| CatalogError::Tool { tool: shown(&tool.name), problem };
        let offer = offer(tool).map_err(failed)?;
        if !names.insert(offer.name.clone()) {
            return Err(failed(ToolProblem::Duplicate));
        }
        offers.push(offer);
    }
    Ok(offers)
}

/// Checks the operator's name for a component.
pub(super) fn component_name(name: &str) -> Result<(), CatalogError> {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let is_valid = (1..=64).contains(&name.len()) && name.bytes().all(tail) && !name.starts_with(['-', '_']);
    if is_valid { Ok(()) } else { Err(CatalogError::ComponentName(shown(name))) }
}

/// Checks that each connection that the operator consents to is declared.
pub(super) fn consent(declared: &[ConnectionName], consented: &[ConnectionName]) -> Result<(), CatalogError> {
    match consented.iter().find(|name| !declared.contains(name)) {
        None => Ok(()),
        Some(connection) => {
            let names: Vec<_> = declared.iter().map(ConnectionName::as_str).collect();
            let declared = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(CatalogError::NotDeclared { connection: connection.clone(), declared })
        }
    }
}

fn offer(tool: &Described) -> Result<Offer, ToolProblem> {
    Ok(Offer {
        name: tool.name.parse().map_err(|error: crate::ids::InvalidName| ToolProblem::Name(error.rule))?,
        description: description(&tool.description)?,
        input: InputSchema::parse(&tool.input_schema)
            .map_err(|error| ToolProblem::Schema { which: "input", error })?,
        output: OutputSchema::parse(&tool.output_schema)
            .map_err(|error| ToolProblem::Schema { which: "output", error })?,
        connections: connections(&tool.connections)?,
    })
}

fn description(text: &str) -> Result<String, ToolProblem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ToolProblem::NoDescription);
    }
    // A line break hides nothing; all the rest could.
    if let Some(char) = text.chars().find(|char| !is_printable(*char) && *char != '\n') {
        return Err(ToolProblem::Hidden(char));
    }
    match text.chars().count() {
        length if length > DESCRIPTION_CHARS_MAX => Err(ToolProblem::LongDescription(length)),
        _ => Ok(text.to_owned()),
    }
}

fn connections(names: &[String]) -> Result<Vec<ConnectionName>, ToolProblem> {
    if names.len() > CONNECTIONS_MAX {
        return Err(ToolProblem::ManyConnections(names.len()));
    }
    let mut connections = Vec::with_capacity(names.len());
    for name in names {
        let name: ConnectionName = name.parse().map_err(ToolProblem::Connection)?;
        if connections.contains(&name) {
            return Err(ToolProblem::DuplicateConnection(name));
        }
        connections.push(name);
    }
    Ok(connections)
}

/// A name that nothing has checked, fit to be shown.
fn shown(name: &str) -> String {
    name.chars().filter(|char| is_printable(*char)).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{},"additionalProperties":false}"#;

    /// Properties whose description reads otherwise than it is.
    const HIDES: &str = "{\"a\":{\"type\":\"string\",\"description\":\"\u{202e}\"}}";

    fn tool(name: &str) -> Described {
        Described {
            name: name.to_owned(),
            description: "Does a thing.".to_owned(),
            input_schema: SCHEMA.to_owned(),
            output_schema: SCHEMA.to_owned(),
            connections: vec!["stripe".to_owned()],
        }
    }

    fn refused(change: impl FnOnce(&mut Described)) -> String {
        let mut tool = tool("get_it");
        change(&mut tool);
        offers(&[tool]).unwrap_err().to_string()
    }

    #[test]
    fn a_sound_description_passes() {
        let offers = offers(&[tool("a"), tool("b")]).unwrap();
        assert_eq!(offers.len(), 2);
        assert_eq!(offers[0].connections[0].as_str(), "stripe");
    }

    #[test]
    fn each_rule_has_its_sentence() {
        let cases: [(&str, String); 18] = [
            ("the name is not valid", refused(|tool| tool.name = "Get-It".to_owned())),
            ("the name is not valid", refused(|tool| tool.name = "../x\n".to_owned())),
            ("the description is empty", refused(|tool| tool.description = " \n".to_owned())),
            ("has 1025 characters", refused(|tool| tool.description = "ü".repeat(1025))),
            (r"\u{1b}", refused(|tool| tool.description = "a\u{1b}[2Jb".to_owned())),
            (r"\u{0}", refused(|tool| tool.description = "a\0b".to_owned())),
            (r"\u{202e}", refused(|tool| tool.description = "a\u{202e}b".to_owned())),
            (r"\u{200b}", refused(|tool| tool.description = "a\u{200b}b".to_owned())),
            (r"\u{e0041}", refused(|tool| tool.description = "a\u{e0041}b".to_owned())),
            (r"\u{fe0f}", refused(|tool| tool.description = "\u{2764}\u{fe0f}".to_owned())),
            ("input schema", refused(|tool| tool.input_schema = "{".to_owned())),
            (r"\u{202e}", refused(|tool| tool.input_schema = SCHEMA.replace("{}", HIDES))),
            (r"\u{202e}", refused(|tool| tool.output_schema = SCHEMA.replace("{}", HIDES))),
            ("output schema", refused(|tool| tool.output_schema = "[]".to_owned())),
            ("input schema", refused(|tool| tool.input_schema = format!("{SCHEMA}{}", " ".repeat(70_000)))),
            ("connection \"a/b\" is not valid", refused(|tool| tool.connections = vec!["a/b".to_owned()])),
            ("declared twice", refused(|tool| tool.connections.push("stripe".to_owned()))),
            ("33 connections", refused(|tool| tool.connections = (0..33).map(|n| format!("c{n}")).collect())),
        ];
        for (expected, message) in cases {
            assert!(message.contains(expected), "{message:?} has no {expected:?}");
            assert!(message.starts_with("tool \""), "{message}");
            assert!(message.chars().all(is_printable), "{message:?}");
        }
    }

    #[test]
    fn the_list_itself_has_rules() {
        assert!(matches!(offers(&[]), Err(CatalogError::NoTools)));
        let many: Vec<_> = (0..65).map(|n| tool(&format!("t{n}"))).collect();
        assert!(matches!(offers(&many), Err(CatalogError::TooManyTools(65))));
        let error = offers(&[tool("a"), tool("a")]).unwrap_err();
        assert!(matches!(error, CatalogError::Tool { problem: ToolProblem::Duplicate, .. }));
    }

    #[test]
    fn what_is_refused_drives_no_terminal() {
        let name = "\u{1b}]0;x\u{7}\u{202e}";
        for message in [
            refused(|tool| tool.name = name.to_owned()),
            refused(|tool| tool.connections = vec![name.to_owned()]),
            refused(|tool| tool.input_schema = format!(r#"{{"\u001b[2J{name}":1}}"#)),
            refused(|tool| {
                let twice = SCHEMA.replace("{}", r#"{"\u001b[2J\u202e":{"a":1,"a":1}}"#);
                tool.input_schema = twice;
            }),
            refused(|tool| {
                tool.input_schema = SCHEMA.replace("{}", r#"{"\u001b[2J\u202e":{"type":"string"}}"#);
            }),
        ] {
            assert!(message.chars().all(is_printable), "{message:?}");
        }
    }

    #[test]
    fn names_of_components_are_file_safe() {
        for bad in ["", "..", "a/b", "A", "-a", "a b", "a\n"] {
            assert!(matches!(component_name(bad), Err(CatalogError::ComponentName(_))), "{bad:?}");
        }
        component_name("stripe-2").unwrap();
    }

    #[test]
    fn consent_to_what_nothing_asks_for_is_a_slip() {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
        consent(&names(&["a", "b"]), &names(&["b"])).unwrap();
        consent(&names(&["a"]), &[]).unwrap();
        let error = consent(&names(&["a", "b"]), &names(&["c"])).unwrap_err().to_string();
        assert!(error.contains('c') && error.contains("a, b"), "{error}");
    }
}
