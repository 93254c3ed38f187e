//! Where policies come from: files, the control store, and what there is to decide about.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::load::PolicyFile;
use super::problem::{PolicyProblem, PolicyProblems};
use super::set::Set;
use super::{Policy, World};
use crate::catalog::Catalog;
use crate::connection::{Connections, LiveConnections};
use crate::ids::Digest;
use crate::look::{Look, Settled};
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
#[derive(Clone)]
struct Seen {
    folder: Settled,
    /// The folder has changed and is to be read again.
    due: bool,
    store: u64,
    files: Vec<PolicyFile>,
    posted: Vec<(String, String)>,
    tools: Vec<(String, ComponentKind, Digest)>,
    connections: Arc<Connections>,
}

/// What there is now.
struct Found {
    seen: Seen,
    rows: Vec<PolicyRow>,
    world: World,
    /// Why the files can't be read. Then `seen` has all as it was before, but for what is posted.
    unread: Option<PolicyProblems>,
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

    fn look(&self) -> Look {
        self.dir.as_deref().map(Look::folder).unwrap_or_default()
    }

    /// Reads everything; the files only where they're due, as they may be half written.
    fn read(&self, before: Option<&Seen>) -> Result<Found, PolicyProblems> {
        let unreadable = |error: StoreError| {
            let message = format!("the posted policies can't be read: {error}");
            PolicyProblems(vec![PolicyProblem::of("control.db", message)])
        };
        // The version before the rows: a change between the two is seen again the next time, and none is missed.
        let (look, store) = (self.look(), self.store.version().map_err(unreadable)?);
        let connections = self.connections.load();
        let rows = self.store.policies(None).map_err(unreadable)?;
        let posted: Vec<_> =
            rows.iter().map(|row| (format!("{} {}", row.tenant, row.id), row.cedar.clone())).collect();
        let snapshot = self.catalog.snapshot();
        let world = World::new(connections.clone(), &snapshot);
        let files = match before.filter(|before| !before.due) {
            Some(before) => Ok(before.files.clone()),
            None => self.dir.as_deref().map_or_else(|| Ok(Vec::new()), PolicyFile::read_all),
        };
        let files = match (files, before) {
            (Ok(files), _) => files,
            (Err(problems), None) => return Err(problems),
            (Err(problems), Some(before)) => {
                let seen = Seen { store, posted, ..before.clone() };
                return Ok(Found { seen, rows, world, unread: Some(problems) });
            }
        };
        let folder = before.map_or_else(|| Settled::new(look), |before| before.folder.clone());
        let tools = snapshot.tools().map(|tool| (tool.name.to_string(), tool.kind, tool.component)).collect();
        let seen = Seen { folder, due: false, store, files, posted, tools, connections };
        Ok(Found { seen, rows, world, unread: None })
    }
}

impl Policy {
    /// The policies of a home: its files and the posted ones. No policy at all denies everything.
    ///
    /// # Errors
    /// Every problem of the files.
    pub fn open(source: PolicySource) -> Result<Self, PolicyProblems> {
        let Found { seen, rows, world, .. } = source.read(None)?;
        let set = Set::new(&seen.files, &rows, world, None)?;
        *source.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(Self::of_set(set, Some(source)))
    }

    /// Takes up what has changed: files, posted policies, tools. Answers whether anything did. A changed file counts once
    /// two looks of [`Policy::is_stale`] found the folder the same: before that it may be half written. Reads files: in
    /// async code, call it where blocking is allowed.
    ///
    /// # Errors
    /// Every problem of what would have been new: what was in force stays in force. What is posted is taken up all the
    /// same, over the files that were good last: a deny doesn't wait until someone has mended a file.
    pub fn refresh(&self) -> Result<bool, PolicyProblems> {
        if let Some(shadow) = &self.inner.shadow
            && let Err(problems) = shadow.candidate.refresh()
        {
            tracing::error!(%problems, "the shadow policies stay as they were");
        }
        let Some(source) = &self.inner.source else { return Ok(false) };
        // Held while the set is made, so that two refreshes don't overtake each other. A panic leaves it as it was.
        let mut seen = source.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Found { seen: now, rows, world, unread } = source.read(seen.as_ref())?;
        let posted_same = seen.as_ref().is_some_and(|seen| seen.posted == now.posted);
        let same = posted_same
            && seen.as_ref().is_some_and(|seen| {
                seen.files == now.files
                    && seen.tools == now.tools
                    && Arc::ptr_eq(&seen.connections, &now.connections)
            });
        let before = self.inner.set.load();
        let made = match unread {
            Some(problems) => Some(Err(problems)),
            None if same => None,
            None => Some(Set::new(&now.files, &rows, world, Some(&**before))),
        };
        // What is invalid isn't read over and over: only the next change is looked at.
        *seen = Some(now);
        let (set, problems) = match made {
            None => return Ok(false),
            Some(Ok(set)) => (set, None),
            Some(Err(problems)) if posted_same => return Err(problems),
            Some(Err(problems)) => (before.with_posted(&rows), Some(problems)),
        };
        self.inner.set.store(Arc::new(set));
        problems.map_or(Ok(true), Err)
    }

    /// Takes a look: whether [`Policy::refresh`] may have something to do. Takes microseconds.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let shadow = self.inner.shadow.as_ref().is_some_and(|shadow| shadow.candidate.is_stale());
        self.inner.source.as_ref().is_some_and(PolicySource::is_stale) || shadow
    }
}

impl PolicySource {
    fn is_stale(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = &mut *seen else { return true };
        seen.due |= seen.folder.look(self.look(), false);
        let snapshot = self.catalog.snapshot();
        let tools = snapshot.tools().map(|tool| (tool.name.as_str(), tool.kind, tool.component));
        seen.due
            || seen.store != self.store.version().unwrap_or_default()
            || !Arc::ptr_eq(&seen.connections, &self.connections.load())
            || !tools.eq(seen.tools.iter().map(|(name, kind, component)| (name.as_str(), *kind, *component)))
    }
}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySource").field("dir", &self.dir).finish_non_exhaustive()
    }
}
