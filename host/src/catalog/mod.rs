//! Component bytes → digest → compiled → described tools.
//!
//! The operator's consent is a [`ComponentRow`]: a digest, the description that was consented to, and the
//! connections. What runs is exactly that: bytes with another digest aren't compiled, and a component that describes
//! itself otherwise than it did isn't offered. One broken component doesn't keep the others from being served.
//!
//! Compiling and reading files block: in async code, call [`Catalog::open`], [`Catalog::refresh`] (when
//! [`Catalog::is_stale`]), [`Catalog::add`] and [`Catalog::inspect`] where blocking is allowed.

mod cache;
mod check;
mod error;
mod files;
mod load;
mod loader;
mod prune;
mod sandbox;
mod snapshot;
#[cfg(test)]
mod tests;

pub use cache::CodeCache;
pub use check::{DESCRIPTION_CHARS_MAX, TOOLS_MAX};
pub use error::{CatalogError, Problem};
pub use load::Progress;
pub use loader::{Inspection, Loader, Runtimes};
pub use prune::Unused;
pub use sandbox::SANDBOX_TOOL;
#[cfg(test)]
pub(crate) use sandbox::tests as sandbox_tests;
pub use snapshot::{Snapshot, Tool};

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::clock::Millis;
use crate::ids::{ConnectionName, Digest, ToolName};
use crate::runtime::Described;
use crate::store::{ComponentKind, ComponentRow, ControlStore, StoreError};

/// The tools that this host offers. Readers take a [`Snapshot`] and keep it for their call: a tool that is replaced
/// meanwhile stays there for them.
pub struct Catalog {
    tools_dir: PathBuf,
    store: Arc<dyn ControlStore>,
    loader: Loader,
    current: ArcSwap<Snapshot>,
    /// The store's version when `current` was last compared with it.
    seen: AtomicU64,
    /// Held while the catalog changes; readers don't wait for it.
    changing: Mutex<()>,
}

/// What [`Catalog::add`] did.
#[derive(Debug)]
pub struct Added {
    /// What the component is and offers.
    pub inspection: Inspection,
    /// The digest that was in use under this name until now, if it was another.
    pub replaced: Option<Digest>,
}

impl Catalog {
    /// Loads all active components; `tools_dir` holds their bytes.
    ///
    /// # Errors
    /// When the store can't be read. What is wrong with single components is in [`Snapshot::problems`].
    pub fn open(
        tools_dir: PathBuf,
        store: Arc<dyn ControlStore>,
        loader: Loader,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self, CatalogError> {
        let version = store.version()?;
        let rows = active(store.as_ref())?;
        let snapshot = load::load(&loader, &tools_dir, rows, &Snapshot::default(), progress);
        Ok(Self {
            tools_dir,
            store,
            loader,
            current: ArcSwap::from_pointee(snapshot),
            seen: AtomicU64::new(version),
            changing: Mutex::new(()),
        })
    }

    /// The tools as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Whether the store has changed since the last [`Catalog::refresh`]. Takes microseconds.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn is_stale(&self) -> Result<bool, CatalogError> {
        Ok(self.store.version()? != self.seen.load(Ordering::Acquire))
    }

    /// Takes in what this or another process has activated or deactivated; says whether anything did change. Calls
    /// in flight finish on the snapshot they hold.
    ///
    /// # Errors
    /// When the store can't be read: the tools stay as they were.
    pub fn refresh(&self) -> Result<bool, CatalogError> {
        if !self.is_stale()? {
            return Ok(false);
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload()
    }

    /// What a component is and offers, without adding it.
    ///
    /// # Errors
    /// Whatever would keep it from being added as what it is, but for names that other components have taken.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, CatalogError> {
        self.loader.inspect(bytes)
    }

    /// Adds a component of tools under a name of the operator's choice, or replaces the one of that name. `consented`
    /// are the connections that its tools may use, out of those they declare.
    ///
    /// # Errors
    /// When the component isn't sound or is a sandbox, one of its tools' names is taken by another component, the name
    /// by a sandbox, the operator consents to a connection that no tool declares, or the bytes or the row can't be
    /// stored. Nothing has changed then.
    pub fn add(
        &self,
        name: &str,
        bytes: &[u8],
        consented: &[ConnectionName],
        now: Millis,
    ) -> Result<Added, CatalogError> {
        self.put(ComponentKind::Tool, name, bytes, None, consented, now)
    }

    /// Adds a sandbox under a name of the operator's choice, or replaces the one of that name. `consented` are the
    /// connections that the code of agents may use in it. It declares none itself: the choice is the operator's.
    ///
    /// # Errors
    /// As for [`Catalog::add`]; when the component is no sandbox, or the name is that of a tool's component.
    pub fn add_sandbox(
        &self,
        name: &str,
        bytes: &[u8],
        consented: &[ConnectionName],
        now: Millis,
    ) -> Result<Added, CatalogError> {
        self.put(ComponentKind::Sandbox, name, bytes, None, consented, now)
    }

    /// Adds a component as what an operator was shown of these bytes and consented to: a tool's or a sandbox.
    ///
    /// # Errors
    /// As for [`Catalog::add`] or [`Catalog::add_sandbox`]; [`CatalogError::Unsteady`] when it describes itself otherwise
    /// by now.
    pub fn add_shown(
        &self,
        name: &str,
        bytes: &[u8],
        shown: &Inspection,
        consented: &[ConnectionName],
        now: Millis,
    ) -> Result<Added, CatalogError> {
        self.put(shown.kind, name, bytes, Some(&shown.described), consented, now)
    }

    fn put(
        &self,
        kind: ComponentKind,
        name: &str,
        bytes: &[u8],
        shown: Option<&str>,
        consented: &[ConnectionName],
        now: Millis,
    ) -> Result<Added, CatalogError> {
        check::component_name(name)?;
        let inspection = self.loader.inspect_as(bytes, kind, None)?;
        if shown.is_some_and(|shown| shown != inspection.described) {
            return Err(CatalogError::Unsteady);
        }
        if kind == ComponentKind::Tool {
            check::consent(&inspection.connections, consented)?;
        }

        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload()?;
        let before = self.snapshot();
        before.check_names(name, &inspection.tools)?;
        if let Some(other) = before.components().find(|row| row.name == name && row.kind != kind) {
            return Err(CatalogError::OtherKind { name: name.to_owned(), kind: other.kind });
        }
        let replaced = before
            .components()
            .find(|row| row.name == name && row.digest != inspection.digest)
            .map(|row| row.digest);
        files::write_component(&self.tools_dir, inspection.digest, bytes)?;
        let mut connections = consented.to_vec();
        connections.sort();
        connections.dedup();
        self.store.activate_component(&ComponentRow {
            name: name.to_owned(),
            kind,
            digest: inspection.digest,
            described: inspection.described.clone(),
            connections,
            added_at: now,
            active: true,
        })?;
        self.reload()?;
        Ok(Added { inspection, replaced })
    }

    /// Takes a component out of use. False when there's none of that name. Its bytes stay until they're found to be
    /// [`Unused`].
    ///
    /// # Errors
    /// When the store can't be written or read.
    pub fn remove(&self, name: &str) -> Result<bool, CatalogError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let was_active = self.store.deactivate_component(name)?;
        self.reload()?;
        Ok(was_active)
    }

    /// Compares the rows with those in use and loads what is new. The version is read before the rows: a change
    /// between the two is seen again the next time, and none is missed.
    fn reload(&self) -> Result<bool, CatalogError> {
        let version = self.store.version()?;
        let rows = active(self.store.as_ref())?;
        let current = self.snapshot();
        let changed = !current.components().eq(rows.iter());
        if changed {
            let next = load::load(&self.loader, &self.tools_dir, rows, &current, &|_| {});
            self.current.store(Arc::new(next));
        }
        self.seen.store(version, Ordering::Release);
        Ok(changed)
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("tools_dir", &self.tools_dir).finish_non_exhaustive()
    }
}

/// Whether a component in use has a tool of this name, whether or not it can be loaded.
///
/// # Errors
/// When the store can't be read, or what it says of a component isn't a description.
pub fn is_offered(store: &dyn ControlStore, name: &ToolName) -> Result<bool, CatalogError> {
    for row in active(store)? {
        let is_its = match row.kind {
            ComponentKind::Sandbox => name.as_str() == SANDBOX_TOOL,
            ComponentKind::Tool => {
                let tools: Vec<Described> = serde_json::from_str(&row.described)
                    .map_err(|error| StoreError::Damaged(format!("component {}: {error}", row.name)))?;
                tools.iter().any(|tool| tool.name == name.as_str())
            }
        };
        if is_its {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The active components, the earlier added first. Of two that offer a tool of the same name, the earlier keeps it:
/// the order must not depend on the store's.
fn active(store: &dyn ControlStore) -> Result<Vec<ComponentRow>, CatalogError> {
    let mut rows = store.components()?;
    rows.retain(|row| row.active);
    rows.sort_by(|a, b| (a.added_at, &a.name, a.digest).cmp(&(b.added_at, &b.name, b.digest)));
    Ok(rows)
}
