//! What there is to decide about: connections with their operations, and tools.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::kinds::Record;
use crate::catalog::{Snapshot, Tool};
use crate::connection::{Connection, Connections, Operation};
use crate::ids::{ConnectionName, Digest, OperationName, ToolName};
use crate::store::ComponentKind;

/// Connections and tools, with the types of their parameters.
#[derive(Debug, Default)]
pub struct World {
    pub(super) connections: Arc<Connections>,
    operations: HashMap<ConnectionName, HashMap<OperationName, OperationType>>,
    tools: BTreeMap<ToolName, ToolType>,
    sandboxes: BTreeMap<ToolName, Digest>,
}

/// The types of an operation's parameters.
#[derive(Debug)]
pub(super) struct OperationType {
    pub(super) operation: Arc<Operation>,
    pub(super) path: Record,
    pub(super) query: Record,
    pub(super) body: Record,
}

/// The types of a tool's arguments.
#[derive(Debug)]
pub(super) struct ToolType {
    pub(super) component: Digest,
    pub(super) arguments: Record,
    /// The whole input schema, which knows more than types: what was never called is held to it.
    pub(super) input: Value,
}

impl World {
    /// What the operator set up, and the tools of a catalog.
    #[must_use]
    pub fn new(connections: Arc<Connections>, catalog: &Snapshot) -> Self {
        Self::of_tools(connections, catalog.tools())
    }

    /// What the operator set up, and these tools.
    #[must_use]
    pub fn of_tools<'t>(
        connections: Arc<Connections>,
        tools: impl IntoIterator<Item = &'t Arc<Tool>>,
    ) -> Self {
        let (sandboxes, tools): (Vec<_>, Vec<_>) =
            tools.into_iter().partition(|tool| tool.kind == ComponentKind::Sandbox);
        let tools = tools.iter().map(|tool| (tool.name.clone(), tool.component, tool.input.value()));
        let sandboxes = sandboxes.iter().map(|tool| (tool.name.clone(), tool.component));
        Self::of(connections, tools).with_sandboxes(sandboxes)
    }

    /// The same with the tools of another catalog, each in place of one of its name.
    #[must_use]
    pub fn with_tools(mut self, catalog: &Snapshot) -> Self {
        let Self { tools, sandboxes, .. } = Self::new(Arc::default(), catalog);
        self.tools.extend(tools);
        self.sandboxes.extend(sandboxes);
        self
    }

    /// The same with these sandboxes' tools, which aren't called but run code: name and component.
    #[must_use]
    pub fn with_sandboxes(mut self, sandboxes: impl IntoIterator<Item = (ToolName, Digest)>) -> Self {
        self.sandboxes.extend(sandboxes);
        self
    }

    /// The same with the tools given: name, component and input schema.
    #[must_use]
    pub fn of<'t>(
        connections: Arc<Connections>,
        tools: impl IntoIterator<Item = (ToolName, Digest, &'t Value)>,
    ) -> Self {
        let of_connection = |connection: &Arc<Connection>| {
            let operations = connection.operations.iter();
            let typed = operations.map(|o| (o.name.clone(), OperationType::of(o))).collect();
            (connection.name.clone(), typed)
        };
        let operations = connections.iter().map(of_connection).collect();
        let tools = tools
            .into_iter()
            .map(|(name, component, schema)| {
                (name, ToolType { component, arguments: Record::of_schema(schema), input: schema.clone() })
            })
            .collect();
        Self { connections, operations, tools, sandboxes: BTreeMap::new() }
    }

    /// The Cedar schema that policies about it are checked against.
    #[must_use]
    pub fn schema(&self) -> String {
        super::schema::schema(self)
    }

    pub(super) fn operation(&self, c: &ConnectionName, o: &OperationName) -> Option<&OperationType> {
        self.operations.get(c)?.get(o)
    }

    /// All operations of a connection, by name.
    pub(super) fn operations(&self, connection: &Connection) -> Vec<&OperationType> {
        let mut all: Vec<_> = self.operations.get(&connection.name).into_iter().flatten().collect();
        all.sort_by_key(|(name, _)| (*name).clone());
        all.into_iter().map(|(_, operation)| operation).collect()
    }

    pub(super) fn tool(&self, name: &ToolName) -> Option<&ToolType> {
        self.tools.get(name)
    }

    /// The component of a sandbox's tool.
    pub(super) fn sandbox(&self, name: &ToolName) -> Option<Digest> {
        self.sandboxes.get(name).copied()
    }

    pub(super) fn tools(&self) -> impl Iterator<Item = (&ToolName, &ToolType)> {
        self.tools.iter()
    }
}

impl OperationType {
    fn of(operation: &Arc<Operation>) -> Self {
        Self {
            operation: operation.clone(),
            path: Record::of_parameters(&operation.path_parameters),
            query: Record::of_parameters(&operation.query_parameters),
            body: Record::of_parameters(&operation.body_parameters),
        }
    }
}
