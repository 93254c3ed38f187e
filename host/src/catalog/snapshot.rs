//! The tools at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{CatalogError, Problem};
use crate::dto::{InputSchema, OutputSchema};
use crate::ids::{ConnectionName, Digest, ToolName};
use crate::runtime::{Prepared, Runtime};
use crate::store::{ComponentKind, ComponentRow};

/// One tool, ready to run.
#[derive(Debug)]
pub struct Tool {
    /// Its name, which no other tool of this host has.
    pub name: ToolName,
    /// What it does, in the words of its component.
    pub description: String,
    /// What it accepts.
    pub input: InputSchema,
    /// What it returns.
    pub output: OutputSchema,
    /// What its component is: whether it's a tool like others, or runs code that agents write.
    pub kind: ComponentKind,
    /// The connections it may use: those that it declares and the operator consented to; for a sandbox, those that the
    /// operator chose.
    pub connections: Arc<[ConnectionName]>,
    /// The digest of its component.
    pub component: Digest,
    /// Its component.
    pub prepared: Arc<Prepared>,
    /// Where that was prepared: it runs there and nowhere else.
    pub runtime: Arc<Runtime>,
}

/// All tools at one moment. It doesn't change.
#[derive(Debug, Default)]
pub struct Snapshot {
    loaded: Vec<Loaded>,
    tools: BTreeMap<ToolName, Arc<Tool>>,
    problems: Vec<Problem>,
}

/// A component as its row stood when it was loaded, and its tools. Empty when there was a problem.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) row: ComponentRow,
    pub(super) tools: Vec<Arc<Tool>>,
}

/// What came of loading a component: its tools, or why it can't be offered.
pub(super) type Fetched = Result<Vec<Arc<Tool>>, CatalogError>;

impl Snapshot {
    /// The tool of this name.
    #[must_use]
    pub fn tool(&self, name: &ToolName) -> Option<&Arc<Tool>> {
        self.tools.get(name)
    }

    /// All tools, by name.
    pub fn tools(&self) -> impl ExactSizeIterator<Item = &Arc<Tool>> {
        self.tools.values()
    }

    /// The active components, sound or not, the earlier added first.
    pub fn components(&self) -> impl Iterator<Item = &ComponentRow> {
        self.loaded.iter().map(|loaded| &loaded.row)
    }

    /// The components that are active and not offered, and why.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Puts components together, in the order given: of two that have a tool of the same name, the first keeps it,
    /// and the other isn't offered at all.
    pub(super) fn assemble(components: Vec<(ComponentRow, Fetched)>) -> Self {
        let mut snapshot = Self::default();
        for (row, tools) in components {
            let tools = tools.and_then(|tools| snapshot.check_names(&row.name, &tools).map(|()| tools));
            let tools = tools.unwrap_or_else(|error| {
                let (component, digest) = (row.name.clone(), row.digest);
                snapshot.problems.push(Problem { component, digest, error });
                Vec::new()
            });
            snapshot.tools.extend(tools.iter().map(|tool| (tool.name.clone(), Arc::clone(tool))));
            snapshot.loaded.push(Loaded { row, tools });
        }
        snapshot
    }

    /// Checks that no component but the one of this name has a tool of the same name as one of these.
    pub(super) fn check_names(&self, component: &str, tools: &[Arc<Tool>]) -> Result<(), CatalogError> {
        for tool in tools {
            let has_it = |loaded: &&Loaded| loaded.tools.iter().any(|other| other.name == tool.name);
            if let Some(other) = self.loaded.iter().filter(|loaded| loaded.row.name != component).find(has_it)
            {
                return Err(CatalogError::NameTaken {
                    tool: tool.name.clone(),
                    by: other.row.name.clone(),
                    digest: other.row.digest,
                });
            }
        }
        Ok(())
    }

    /// The tools of a component that was loaded from the same row and is sound.
    pub(super) fn loaded(&self, row: &ComponentRow) -> Option<&[Arc<Tool>]> {
        let same = |loaded: &&Loaded| loaded.row == *row && !loaded.tools.is_empty();
        self.loaded.iter().find(same).map(|loaded| loaded.tools.as_slice())
    }
}
