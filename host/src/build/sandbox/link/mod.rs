//! Links the core modules of the interpreter's component into one.
//!
//! componentize-py makes a component of a dozen libraries that share one memory and one table. wasmtime fills a shared
//! table entry by entry whenever the component is instantiated, which took a fifth of a small program's time; a table
//! that is filled by the module that defines it costs nothing until an entry is used. So the libraries become one
//! module: what one imports of another is named directly, and addresses that the linker wrote into globals are
//! constants.
//!
//! ```text
//! Graph::of ── what the component's core level holds, and what refers to what
//!    └ Libraries::of ── those that share the memory, and where each of their imports comes from
//!         └ merge ── the one module
//!              └ write ── the component around it
//! ```
//!
//! Nothing is changed but where a definition lies: the memory, the table's entries and every function stay as they are.
//! What this doesn't know is an error, never a guess.

mod graph;
mod libraries;
mod merge;
#[cfg(test)]
mod tests;
mod write;

use graph::Graph;
use libraries::Libraries;

/// The component with its libraries linked into one module.
///
/// # Errors
/// What it holds that can't be linked, for the operator.
pub(super) fn link(component: &[u8]) -> Result<Vec<u8>, String> {
    let graph = Graph::of(component)?;
    write::write(&graph, &Libraries::of(&graph)?)
}
