//! Where policies come from: files, the control store, and what there is to decide about.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::engine::Engine;
use super::load::PolicyFile;
use super::problem::{PolicyProblem, PolicyProblems};
use super::set::Set;
use super::{Policy, World};
use crate::catalog::Catalog;
use crate::connection::{Connections, LiveConnections};
use crate::home::Look;
use crate::ids::Digest;
use crate::store::{ComponentKind, ControlStore, PolicyRow, StoreError};

/// A home's policies, and what they are about.
pub struct PolicySource {
    /// The folder of `*.cedar` files. `None`: no files.
    pub dir: Option<PathBuf>,
    /// Where posted policies are.
    pub store: Arc<dyn ControlStore>,
    /// The connections.
    pub connections: Arc<LiveConnections>,
    /// The tools.
    pub catalog: Arc<Catalog>,
    seen: Mutex<Option<Seen>>,
}

/// What was read the last time.
struct Seen {
    look: Option<Look>,
    store: u64,
    files: Vec<PolicyFile>,
    posted: Vec<(String, String)>,
    tools: Vec<(String, ComponentKind, Digest)>,
    connections: Arc<Connections>,
}

impl PolicySource {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(
        dir: Option<PathBuf>,
        store: Arc<dyn ControlStore>,
        connections: Arc<LiveConnections>,
        catalog: Arc<Catalog>,
    ) -> Self {
        Self { dir, store, connections, catalog, seen: Mutex::default() }
    }

    fn look(&self) -> Option<Look> {
        self.dir.as_deref().map(Look::folder)
    }

    fn read(&self) -> Result<(Seen, Vec<PolicyRow>, World), PolicyProblems> {
        let unreadable = |error: StoreError| {
            let message = format!("the posted policies can't be read: {error}");
            PolicyProblems(vec![PolicyProblem::of("control.db", message)])
        };
        // The version before the rows: a change between the two is seen again the next time, and none is missed.
        let (look, store) = (self.look(), self.store.version().map_err(unreadable)?);
        let connections = self.connections.load();
        let rows = self.store.policies(None).map_err(unreadable)?;
        let files = self.dir.as_deref().map(PolicyFile::read_all).transpose()?.unwrap_or_default();
        let snapshot = self.catalog.snapshot();
        let tools = snapshot.tools().map(|tool| (tool.name.to_string(), tool.kind, tool.component)).collect();
        let posted =
            rows.iter().map(|row| (format!("{} {}", row.tenant, row.id), row.cedar.clone())).collect();
        let world = World::new(connections.clone(), &snapshot);
        let seen = Seen { look, store, files, posted, tools, connections };
        Ok((seen, rows, world))
    }
}

impl Policy {
    /// The policies of a home: its files and the posted ones. No policy at all denies everything.
    ///
    /// # Errors
    /// Every problem of the files.
    pub fn open(source: PolicySource) -> Result<Self, PolicyProblems> {
        let (seen, rows, world) = source.read()?;
        let set = Set::new(&seen.files, &rows, world, None)?;
        *source.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(Self::of_engine(Engine::Set(Box::new(set)), Some(source)))
    }

    /// Takes up what has changed: files, posted policies, tools. Answers whether anything did. Reads files: in async
    /// code, call it where blocking is allowed.
    ///
    /// # Errors
    /// Every problem of what would have been new: what was in force stays in force.
    pub fn refresh(&self) -> Result<bool, PolicyProblems> {
        if let Some(shadow) = &self.inner.shadow
            && let Err(problems) = shadow.candidate.refresh()
        {
            tracing::error!(%problems, "the shadow policies stay as they were");
        }
        let Some(source) = &self.inner.source else { return Ok(false) };
        // Held while the set is made, so that two refreshes don't overtake each other. A panic leaves it as it was.
        let mut seen = source.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, rows, world) = source.read()?;
        let same = seen.as_ref().is_some_and(|seen| {
            seen.files == now.files
                && seen.posted == now.posted
                && seen.tools == now.tools
                && Arc::ptr_eq(&seen.connections, &now.connections)
        });
        let made = if same {
            None
        } else {
            let current = self.inner.engine.load();
            let before = match &**current {
                Engine::Set(set) => Some(&**set),
                Engine::Baseline { .. } => None,
            };
            Some(Set::new(&now.files, &rows, world, before))
        };
        // What is invalid isn't read over and over: only the next change is looked at.
        *seen = Some(now);
        let Some(made) = made else { return Ok(false) };
        self.inner.engine.store(Arc::new(Engine::Set(Box::new(made?))));
        Ok(true)
    }

    /// Whether [`Policy::refresh`] may have something to do. Takes microseconds.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        if self.inner.shadow.as_ref().is_some_and(|shadow| shadow.candidate.is_stale()) {
            return true;
        }
        let Some(source) = &self.inner.source else { return false };
        let seen = source.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = &*seen else { return true };
        let snapshot = source.catalog.snapshot();
        let tools = snapshot.tools().map(|tool| (tool.name.as_str(), tool.kind, tool.component));
        seen.store != source.store.version().unwrap_or_default()
            || seen.look != source.look()
            || !Arc::ptr_eq(&seen.connections, &source.connections.load())
            || !tools.eq(seen.tools.iter().map(|(name, kind, component)| (name.as_str(), *kind, *component)))
    }
}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySource").field("dir", &self.dir).finish_non_exhaustive()
    }
}
