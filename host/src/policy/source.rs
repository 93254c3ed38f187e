//! Where policies come from: files, the control store, and what there is to decide about.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use std::{fmt, fs};

use super::engine::Engine;
use super::load::PolicyFile;
use super::problem::{PolicyProblem, PolicyProblems};
use super::set::Set;
use super::{Policy, World};
use crate::catalog::Catalog;
use crate::connection::Connections;
use crate::store::{ControlStore, PolicyRow};

/// A home's policies, and what they are about.
pub struct PolicySource {
    /// The folder of `*.cedar` files. `None`: no files.
    pub dir: Option<PathBuf>,
    /// Where posted policies are.
    pub store: Arc<dyn ControlStore>,
    /// The connections.
    pub connections: Arc<Connections>,
    /// The tools.
    pub catalog: Arc<Catalog>,
    seen: Mutex<Option<Seen>>,
}

/// What was read the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    stamps: Vec<(PathBuf, u64, Option<SystemTime>)>,
    store: u64,
    files: Vec<PolicyFile>,
    posted: Vec<(String, String)>,
    tools: Vec<(String, crate::ids::Digest)>,
}

impl PolicySource {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(
        dir: Option<PathBuf>,
        store: Arc<dyn ControlStore>,
        connections: Arc<Connections>,
        catalog: Arc<Catalog>,
    ) -> Self {
        Self { dir, store, connections, catalog, seen: Mutex::default() }
    }

    /// Name, size and time of each file: what tells cheaply that nothing has changed.
    fn stamps(&self) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
        let entries = self.dir.as_ref().and_then(|dir| fs::read_dir(dir).ok());
        let mut stamps: Vec<_> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let found = entry.metadata().ok()?;
                Some((entry.path(), found.len(), found.modified().ok()))
            })
            .collect();
        stamps.sort();
        stamps
    }

    fn read(&self) -> Result<(Seen, Vec<PolicyRow>), PolicyProblems> {
        let unreadable = |error: crate::store::StoreError| {
            let message = format!("the posted policies can't be read: {error}");
            PolicyProblems(vec![PolicyProblem::of("control.db", message)])
        };
        // The version before the rows: a change between the two is seen again the next time, and none is missed.
        let (stamps, store) = (self.stamps(), self.store.version().map_err(unreadable)?);
        let rows = self.store.policies(None).map_err(unreadable)?;
        let files = self.dir.as_deref().map(PolicyFile::read_all).transpose()?.unwrap_or_default();
        let snapshot = self.catalog.snapshot();
        let tools = snapshot.tools().map(|tool| (tool.name.to_string(), tool.component)).collect();
        let posted =
            rows.iter().map(|row| (format!("{} {}", row.tenant, row.id), row.cedar.clone())).collect();
        Ok((Seen { stamps, store, files, posted, tools }, rows))
    }

    fn world(&self) -> World {
        World::new(self.connections.clone(), &self.catalog.snapshot())
    }
}

impl Policy {
    /// The policies of a home: its files and the posted ones. No policy at all denies everything.
    ///
    /// # Errors
    /// Every problem of the files.
    pub fn open(source: PolicySource) -> Result<Self, PolicyProblems> {
        let (seen, rows) = source.read()?;
        let set = Set::new(&seen.files, &rows, source.world(), None)?;
        *source.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(Self::of_engine(Engine::Set(Box::new(set)), Some(source)))
    }

    /// Takes up what has changed: files, posted policies, tools. Answers whether anything did. Reads files: in async
    /// code, call it where blocking is allowed.
    ///
    /// # Errors
    /// Every problem of what would have been new: what was in force stays in force.
    pub fn refresh(&self) -> Result<bool, PolicyProblems> {
        let Some(source) = &self.inner.source else { return Ok(false) };
        // Held while the set is made, so that two refreshes don't overtake each other. A panic leaves it as it was.
        let mut seen = source.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, rows) = source.read()?;
        let same = seen.as_ref().is_some_and(|seen| {
            seen.files == now.files && seen.posted == now.posted && seen.tools == now.tools
        });
        let made = if same {
            None
        } else {
            let current = self.inner.engine.load();
            let before = match &**current {
                Engine::Set(set) => Some(&**set),
                Engine::Baseline => None,
            };
            Some(Set::new(&now.files, &rows, source.world(), before))
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
        let Some(source) = &self.inner.source else { return false };
        let seen = source.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = &*seen else { return true };
        let snapshot = source.catalog.snapshot();
        let tools = snapshot.tools().map(|tool| (tool.name.as_str(), tool.component));
        seen.store != source.store.version().unwrap_or_default()
            || seen.stamps != source.stamps()
            || !tools.eq(seen.tools.iter().map(|(name, component)| (name.as_str(), *component)))
    }
}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySource").field("dir", &self.dir).finish_non_exhaustive()
    }
}
