//! Component instances under limits.
//!
//! One [`Engine`] serves the process. A component is checked ([`Runtime::compile`] looks at its
//! imports before it compiles anything), linked once ([`Runtime::prepare`]), and then run any number of times
//! ([`Runtime::run`]), each time in a fresh instance that sees nothing of the ones before.
//!
//! What ends a run that doesn't end by itself:
//! - an epoch that ticks every [`EPOCH_TICK`]: a guest that computes gives its thread back at each tick, and traps
//!   once its deadline has passed;
//! - a deadline around everything, since epochs are only looked at while guest code runs;
//! - dropping the future of [`Runtime::run`].

mod admission;
mod bindings;
mod describe;
mod engine;
mod guest;
mod imports;
mod instance;
mod limits;
mod outbound;
mod run;
#[cfg(test)]
pub(crate) mod test_guest;
#[cfg(test)]
mod tests;

pub use admission::COMPONENT_BYTES_MAX;
pub use describe::Described;
pub use engine::{Allocation, EPOCH_TICK, RuntimeConfig};
pub use limits::Limits;
pub use outbound::{BoxFuture, GuestReply, LogLevel, Outbound};
pub use run::{RunFailure, RunReport, TOOL_MESSAGE_CHARS_MAX, ToolError, ToolErrorKind};

use std::sync::Arc;
use std::time::{Duration, Instant};

use keybearer_artifact::{Binding, CacheKey, OpenError};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::ids::Digest;
use guest::Guest;
use imports::Linkers;

/// Why a component isn't taken, or why there's no runtime at all.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine can't be set up on this machine.
    #[error("the WebAssembly engine can't be set up: {0}")]
    Engine(String),
    /// These bytes are no component.
    #[error("this is not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// The component is too large.
    #[error("the component has {bytes} bytes; at most {COMPONENT_BYTES_MAX} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The component asks for something that tools don't get.
    #[error(
        "the component imports `{name}`, which tools don't get; known are `keybearer:tool/credentialed-http@0.1.0`, \
         `keybearer:tool/log@0.1.0` and, empty, WASI 0.2 without `wasi:http`"
    )]
    UnknownImport {
        /// The import's name, control characters escaped.
        name: String,
    },
    /// The component doesn't validate or compile.
    #[error("the component doesn't compile: {0}")]
    Compile(String),
    /// An import or export has another type than `wit/tool.wit` says.
    #[error("the component doesn't fit the contract of `keybearer:tool@0.1.0`: {0}")]
    Contract(String),
    /// `describe` failed.
    #[error("`describe` failed: {0}")]
    Describe(RunFailure),
}

/// Runs components. One serves the whole process.
pub struct Runtime {
    engine: Engine,
    /// What compiled code depends on: wasmtime's version, the target, the settings.
    engine_key: Digest,
    linkers: Linkers,
    /// One permit for each instance there may be at a time.
    slots: Arc<Semaphore>,
}

/// A compiled component, not yet linked.
#[derive(Debug)]
pub struct Artifact {
    digest: Digest,
    imports: Vec<String>,
    component: Component,
    took: Duration,
}

/// A component that is ready to run.
pub struct Prepared {
    digest: Digest,
    instance: InstancePre<Guest>,
    call: ComponentExportIndex,
    describe: ComponentExportIndex,
}

impl Runtime {
    /// Sets the engine up and starts the thread that ticks its epochs. The thread ends with the engine.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] when the settings don't fit this machine.
    pub fn new(config: &RuntimeConfig) -> Result<Self, RuntimeError> {
        let engine = engine::build(config)?;
        engine::start_epochs(&engine)?;
        Ok(Self {
            engine_key: engine::key(&engine),
            linkers: Linkers::new(&engine).map_err(|error| RuntimeError::Engine(format!("{error:#}")))?,
            slots: Arc::new(Semaphore::new(config.instances_max as usize)),
            engine,
        })
    }

    /// Checks a component's imports, then compiles it. Blocks: milliseconds for a small tool, seconds for a language
    /// runtime.
    ///
    /// # Errors
    /// When the bytes are too large, no component, import something unknown, or don't compile.
    pub fn compile(&self, bytes: &[u8]) -> Result<Artifact, RuntimeError> {
        let imports = admission::admit(bytes)?;
        let start = Instant::now();
        let component = Component::from_binary(&self.engine, bytes)
            .map_err(|error| RuntimeError::Compile(format!("{error:#}")))?;
        Ok(Artifact { digest: Digest::of(bytes), imports, component, took: start.elapsed() })
    }

    /// The artifact that this host compiled earlier from these bytes, if `sealed` is it. Any doubt gives `None`: the
    /// bytes are compiled again then.
    ///
    /// # Errors
    /// Those of [`Runtime::compile`] that come before compiling.
    pub fn restore(
        &self,
        bytes: &[u8],
        sealed: &[u8],
        key: &CacheKey,
    ) -> Result<Result<Artifact, OpenError>, RuntimeError> {
        let imports = admission::admit(bytes)?;
        let digest = Digest::of(bytes);
        let start = Instant::now();
        let opened = keybearer_artifact::open(key, &self.binding(digest), &self.engine, sealed);
        Ok(opened.map(|component| Artifact { digest, imports, component, took: start.elapsed() }))
    }

    /// The artifact as bytes for the disk, which [`Runtime::restore`] takes back.
    ///
    /// # Errors
    /// [`RuntimeError::Compile`] when there's no memory for the copy.
    pub fn seal(&self, artifact: &Artifact, key: &CacheKey) -> Result<Vec<u8>, RuntimeError> {
        let code =
            artifact.component.serialize().map_err(|error| RuntimeError::Compile(format!("{error:#}")))?;
        Ok(keybearer_artifact::seal(key, &self.binding(artifact.digest), &code))
    }

    /// Links a component and lays out the memory that its instances begin with, so that each run only has to instantiate
    /// it. Blocks as long as copying that memory takes.
    ///
    /// # Errors
    /// [`RuntimeError::Contract`] when an import or export has another type than the contract's, or is missing.
    pub fn prepare(&self, artifact: &Artifact) -> Result<Arc<Prepared>, RuntimeError> {
        let component = &artifact.component;
        let instance = self
            .linkers
            .for_imports(&artifact.imports)
            .instantiate_pre(component)
            .map_err(|error| RuntimeError::Contract(format!("{error:#}")))?;
        let call = run::export(component, &instance)?;
        let describe = describe::export(component, &instance)?;
        instance::lay_memory_out(component);
        Ok(Arc::new(Prepared { digest: artifact.digest, instance, call, describe }))
    }

    /// A hash of all that compiled code depends on, as a name for a folder.
    #[must_use]
    pub fn engine_key(&self) -> String {
        hex::encode(self.engine_key.0.get(..8).unwrap_or_default())
    }

    fn binding(&self, component: Digest) -> Binding {
        Binding { component: component.0, engine: self.engine_key.0 }
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("engine", &self.engine_key()).finish_non_exhaustive()
    }
}

impl Artifact {
    /// The digest of the component's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The names of what it imports, in its own order.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// How long it took to compile, or to load.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }
}

impl Prepared {
    /// The digest of the component's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("digest", &self.digest).finish_non_exhaustive()
    }
}
