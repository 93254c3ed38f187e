//! Bytes → tools.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::check::{self, Offer};
use crate::catalog::{CatalogError, CodeCache, Tool};
use crate::ids::{ConnectionName, Digest};
use crate::runtime::{Artifact, Described, Prepared, Runtime};

/// Compiles components, or finds their compiled code in the cache, and asks them for their tools.
#[derive(Debug)]
pub struct Loader {
    runtime: Arc<Runtime>,
    cache: CodeCache,
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
    pub fn new(runtime: Arc<Runtime>, cache: CodeCache) -> Self {
        Self { runtime, cache }
    }

    /// What a component is and offers. Its tools are ready to run. Blocks.
    ///
    /// # Errors
    /// Whatever would keep it from being added.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, CatalogError> {
        self.inspect_consented(bytes, None)
    }

    /// The same, its tools limited to the connections that the operator consented to.
    pub(super) fn inspect_consented(
        &self,
        bytes: &[u8],
        consented: Option<&[ConnectionName]>,
    ) -> Result<Inspection, CatalogError> {
        let (artifact, cached) = self.compile(bytes)?;
        let prepared = self.runtime.prepare(&artifact)?;
        let described = self.describe(&prepared)?;
        let offers = check::offers(&described)?;
        let mut connections: Vec<_> = offers.iter().flat_map(|offer| &offer.connections).cloned().collect();
        connections.sort();
        connections.dedup();
        let tool = |offer| Arc::new(tool(offer, consented, &prepared));
        Ok(Inspection {
            digest: artifact.digest(),
            bytes: bytes.len(),
            imports: artifact.imports().to_vec(),
            tools: offers.into_iter().map(tool).collect(),
            connections,
            described: canonical(&described)?,
            cached,
            took: artifact.took(),
        })
    }

    /// The compiled code, and whether it was in the cache.
    fn compile(&self, bytes: &[u8]) -> Result<(Artifact, bool), CatalogError> {
        if let Some(artifact) = self.cache.load(&self.runtime, bytes)? {
            return Ok((artifact, true));
        }
        let artifact = self.runtime.compile(bytes)?;
        self.cache.save(&self.runtime, &artifact);
        Ok((artifact, false))
    }

    /// Asks the component for its tools, on a thread of its own: the caller's may be one that must not block on
    /// async code.
    fn describe(&self, prepared: &Prepared) -> Result<Vec<Described>, CatalogError> {
        let describe = || {
            let executor = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .map_err(|error| CatalogError::Host(format!("no executor for `describe`: {error}")))?;
            executor.block_on(self.runtime.describe(prepared)).map_err(CatalogError::from)
        };
        std::thread::scope(|scope| scope.spawn(describe).join())
            .unwrap_or_else(|_| Err(CatalogError::Host("`describe` panicked".to_owned())))
    }
}

fn tool(offer: Offer, consented: Option<&[ConnectionName]>, prepared: &Arc<Prepared>) -> Tool {
    let is_consented = |name: &ConnectionName| consented.is_none_or(|consented| consented.contains(name));
    Tool {
        name: offer.name,
        description: offer.description,
        input: offer.input,
        output: offer.output,
        connections: offer.connections.into_iter().filter(is_consented).collect(),
        component: prepared.digest(),
        prepared: Arc::clone(prepared),
    }
}

/// What a component says of itself as one text, always the same for the same description.
fn canonical(described: &[Described]) -> Result<String, CatalogError> {
    serde_json::to_string(described)
        .map_err(|error| CatalogError::Host(format!("a description can't be written as JSON: {error}")))
}
