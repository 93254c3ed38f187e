//! The Cedar schema of a world: `keybearer policy schema` prints it.

use std::fmt::Write as _;

use super::names::{call_action, operation_action, quoted};
use super::world::{OperationType, ToolType, World};
use crate::connection::Effect;
use crate::ids::{ConnectionName, ToolName};

/// Entities and what every action's context has.
const HEAD: &str = include_str!("head.cedarschema");

/// What every question's context has.
const COMMON: &str = r#"    "conversation"?: String, "task"?: String, "turn"?: String, "intent"?: String,
    "user"?: String, "token": String, "depth": Long, "environment": String, "now": datetime,
"#;

/// The schema of a world, in Cedar's own syntax.
pub(super) fn schema(world: &World) -> String {
    let mut out = HEAD.to_owned();
    let mut groups = Groups::default();
    for connection in world.connections.iter() {
        let _ = writeln!(out, "\n// {}", connection.name);
        for operation in world.operations(connection) {
            groups.see(operation.operation.effect);
            operation_of(&mut out, &connection.name, operation);
        }
    }
    out.push_str("\n// Tools.\n");
    for (name, tool) in world.tools() {
        groups.calls = true;
        tool_of(&mut out, name, tool);
    }
    groups.write(&mut out);
    out
}

fn operation_of(out: &mut String, connection: &ConnectionName, typed: &OperationType) {
    let operation = &typed.operation;
    let id = quoted(&operation_action(connection, &operation.name));
    let group = quoted(operation.effect.as_str());
    let _ = writeln!(out, "action {id} in [{group}] appliesTo {{");
    let _ = write!(out, "  principal: [Agent], resource: [Connection],\n  context: {{\n{COMMON}");
    out.push_str("    \"door\": String, \"tool\"?: String, \"approval\": Approval,\n");
    if operation.cost.is_some() {
        out.push_str("    \"cost\": Cost,\n");
    }
    if let Some(place) = &operation.customer {
        let mark = if place.parameter(operation).is_some_and(|p| p.optional) { "?" } else { "" };
        let _ = writeln!(out, "    \"customer\"{mark}: String,");
    }
    for (place, record) in [("path", &typed.path), ("query", &typed.query), ("body", &typed.body)] {
        let _ = write!(out, "    \"{place}\": ");
        record.write(out);
        out.push_str(",\n");
    }
    if typed.body.has_nullable() {
        out.push_str("    \"nulls\": Set<String>,\n");
    }
    out.push_str("  },\n};\n");
}

fn tool_of(out: &mut String, name: &ToolName, tool: &ToolType) {
    let id = quoted(&call_action(name));
    let _ = writeln!(out, "action {id} in [\"call\"] appliesTo {{");
    let _ =
        write!(out, "  principal: [Agent], resource: [Tool],\n  context: {{\n{COMMON}    \"arguments\": ");
    tool.arguments.write(out);
    out.push_str(",\n    \"approval\": Approval,\n  },\n};\n");
}

/// Which groups have members. A policy over an empty group couldn't be checked, so such a group is made an action that
/// nobody ever asks for.
#[derive(Default)]
struct Groups {
    reads: bool,
    writes: bool,
    calls: bool,
}

impl Groups {
    fn see(&mut self, effect: Effect) {
        match effect {
            Effect::Read => self.reads = true,
            Effect::Write => self.writes = true,
        }
    }

    fn write(&self, out: &mut String) {
        out.push_str(
            "\n// Groups: `action in Action::\"write\"` is every operation that changes something.\n",
        );
        out.push_str("action \"send\";\n");
        for (name, parent, full, resource) in [
            ("read", " in [\"send\"]", self.reads, "Connection"),
            ("write", " in [\"send\"]", self.writes, "Connection"),
            ("call", "", self.calls, "Tool"),
        ] {
            let _ = write!(out, "action \"{name}\"{parent}");
            if !full {
                let _ = write!(
                    out,
                    " appliesTo {{\n  principal: [Agent], resource: [{resource}],\n  context: {{\n{COMMON}"
                );
                out.push_str(match resource {
                    "Tool" => "    \"arguments\": {}, \"approval\": Approval,\n  },\n}",
                    _ => {
                        "    \"door\": String, \"tool\"?: String, \"approval\": Approval,\n    \
                         \"path\": {}, \"query\": {}, \"body\": {},\n  },\n}"
                    }
                });
            }
            out.push_str(";\n");
        }
    }
}
