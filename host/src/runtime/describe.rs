//! Asking a component what it offers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::runtime::bindings as wit;
use crate::runtime::guest::Guest;
use crate::runtime::{Limits, Prepared, RunFailure, Runtime, RuntimeError, instance};

/// How long a description waits for one of the instances that there may be.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(10);

/// A tool in its component's own words: nothing here has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// The name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: String,
    /// JSON Schema of the result.
    pub output_schema: String,
    /// The connections it wants.
    pub connections: Vec<String>,
}

impl Runtime {
    /// Asks a component for its tools, in an instance without rights: a call of `credentialed-http` or `log` ends
    /// it. (Guests that import WASI have the empty one: it gives no rights, and their start-up code needs it.)
    ///
    /// # Errors
    /// [`RuntimeError::Describe`] when the guest traps, calls an import or goes over a limit.
    pub async fn describe(&self, prepared: &Prepared) -> Result<Vec<Described>, RuntimeError> {
        let slot = tokio::time::timeout(SLOT_WAIT_MAX, self.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else { return Err(RuntimeError::Describe(RunFailure::Busy)) };
        let limits = Limits::for_describe();
        let deadline = Instant::now() + limits.wall;
        let mut store = self.store(Guest::new(&limits, deadline, None));
        let (tools,): Results = instance::enter(&mut store, &prepared.instance, &prepared.describe, ())
            .await
            .map_err(RuntimeError::Describe)?;
        Ok(tools.into_iter().map(Described::from).collect())
    }
}

/// What `describe` returns.
type Results = (Vec<wit::ToolDescription>,);

/// The export `describe`, its type checked.
pub(super) fn export(
    component: &Component,
    linked: &InstancePre<Guest>,
) -> Result<ComponentExportIndex, RuntimeError> {
    instance::export::<(), Results>(component, linked, "describe")
}

impl From<wit::ToolDescription> for Described {
    fn from(tool: wit::ToolDescription) -> Self {
        Self {
            name: tool.name,
            description: tool.description,
            input_schema: tool.input_schema,
            output_schema: tool.output_schema,
            connections: tool.connections,
        }
    }
}
