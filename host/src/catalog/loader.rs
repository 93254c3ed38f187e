//! Bytes → tools.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::check::{self, Offer};
use crate::catalog::{CatalogError, CodeCache, Tool, sandbox};
use crate::ids::{ConnectionName, Digest};
use crate::runtime::{Artifact, Described, Prepared, Runtime};
use crate::store::ComponentKind;

/// Compiles components, or finds their compiled code in the cache, and asks them for their tools.
#[derive(Debug)]
pub struct Loader {
    runtimes: Runtimes,
    cache: CodeCache,
}

/// Where components run: tools in one runtime, sandboxes in another, so that neither takes the other's instances.
#[derive(Debug, Clone)]
pub struct Runtimes {
    /// For tools.
    pub tools: Arc<Runtime>,
    /// For code that agents write.
    pub code: Arc<Runtime>,
}

impl Runtimes {
    fn of(&self, kind: ComponentKind) -> &Arc<Runtime> {
        match kind {
            ComponentKind::Tool => &self.tools,
            ComponentKind::Sandbox => &self.code,
        }
    }
}

impl From<Arc<Runtime>> for Runtimes {
    /// One for both: for commands, which run nothing of an agent's.
    fn from(runtime: Arc<Runtime>) -> Self {
        Self { tools: runtime.clone(), code: runtime }
    }
}

/// What a component is and offers.
#[derive(Debug)]
pub struct Inspection {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size.
    pub bytes: usize,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// What it is.
    pub kind: ComponentKind,
    /// Its tools, in its own order, with all the connections that they declare.
    pub tools: Vec<Arc<Tool>>,
    /// All those connections, by name.
    pub connections: Vec<ConnectionName>,
    /// What it says of itself, as canonical JSON: what a [`ComponentRow`](crate::store::ComponentRow) pins.
    pub described: String,
    /// Whether its compiled code was in the cache.
    pub cached: bool,
    /// How long it took to compile, or to load.
    pub took: Duration,
}

impl Loader {
    /// A loader.
    #[must_use]
    pub fn new(runtimes: impl Into<Runtimes>, cache: CodeCache) -> Self {
        Self { runtimes: runtimes.into(), cache }
    }

    /// What a component is and offers. Its tools are ready to run. Blocks.
    ///
    /// # Errors
    /// Whatever would keep it from being added.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, CatalogError> {
        self.look(bytes, &self.runtimes.tools, None)
    }

    /// The same of what has to be of this kind, its tools limited to the connections that the operator consented to.
    pub(super) fn inspect_as(
        &self,
        bytes: &[u8],
        kind: ComponentKind,
        consented: Option<&[ConnectionName]>,
    ) -> Result<Inspection, CatalogError> {
        let inspection = self.look(bytes, self.runtimes.of(kind), consented)?;
        match (kind, inspection.kind) {
            (ComponentKind::Tool, ComponentKind::Sandbox) => Err(CatalogError::IsASandbox),
            (ComponentKind::Sandbox, ComponentKind::Tool) => Err(CatalogError::NotASandbox),
            _ => Ok(inspection),
        }
    }

    fn look(
        &self,
        bytes: &[u8],
        runtime: &Arc<Runtime>,
        consented: Option<&[ConnectionName]>,
    ) -> Result<Inspection, CatalogError> {
        let (artifact, cached) = self.compile(bytes, runtime)?;
        let prepared = runtime.prepare(&artifact)?;
        let described = describe(runtime, &prepared)?;
        let offers = check::offers(&described)?;
        let kind = sandbox::kind(&offers)?;
        let mut connections: Vec<_> = offers.iter().flat_map(|offer| &offer.connections).cloned().collect();
        connections.sort();
        connections.dedup();
        let tool = |offer: Offer| {
            let connections = match (kind, consented) {
                (ComponentKind::Sandbox, consented) => consented.unwrap_or_default().into(),
                (ComponentKind::Tool, None) => Arc::from(&*offer.connections),
                (ComponentKind::Tool, Some(consented)) => both(&offer.connections, consented),
            };
            Arc::new(tool(offer, kind, connections, &prepared, runtime))
        };
        Ok(Inspection {
            digest: artifact.digest(),
            bytes: bytes.len(),
            imports: artifact.imports().to_vec(),
            kind,
            tools: offers.into_iter().map(tool).collect(),
            connections,
            described: canonical(&described)?,
            cached,
            took: artifact.took(),
        })
    }

    /// The compiled code, and whether it was in the cache.
    fn compile(&self, bytes: &[u8], runtime: &Runtime) -> Result<(Artifact, bool), CatalogError> {
        if let Some(artifact) = self.cache.load(runtime, bytes)? {
            return Ok((artifact, true));
        }
        let artifact = runtime.compile(bytes)?;
        self.cache.save(runtime, &artifact);
        Ok((artifact, false))
    }
}

/// Asks the component for its tools, on a thread of its own: the caller's may be one that must not block on async code.
fn describe(runtime: &Runtime, prepared: &Prepared) -> Result<Vec<Described>, CatalogError> {
    let describe = || {
        let executor = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| CatalogError::Host(format!("no executor for `describe`: {error}")))?;
        executor.block_on(runtime.describe(prepared)).map_err(CatalogError::from)
    };
    std::thread::scope(|scope| scope.spawn(describe).join())
        .unwrap_or_else(|_| Err(CatalogError::Host("`describe` panicked".to_owned())))
}

/// The connections that are declared and consented to.
fn both(declared: &[ConnectionName], consented: &[ConnectionName]) -> Arc<[ConnectionName]> {
    declared.iter().filter(|name| consented.contains(name)).cloned().collect()
}

fn tool(
    offer: Offer,
    kind: ComponentKind,
    connections: Arc<[ConnectionName]>,
    prepared: &Arc<Prepared>,
    runtime: &Arc<Runtime>,
) -> Tool {
    Tool {
        name: offer.name,
        description: offer.description,
        input: offer.input,
        output: offer.output,
        kind,
        connections,
        component: prepared.digest(),
        prepared: Arc::clone(prepared),
        runtime: Arc::clone(runtime),
    }
}

/// What a component says of itself as one text, always the same for the same description.
fn canonical(described: &[Described]) -> Result<String, CatalogError> {
    serde_json::to_string(described)
        .map_err(|error| CatalogError::Host(format!("a description can't be written as JSON: {error}")))
}
