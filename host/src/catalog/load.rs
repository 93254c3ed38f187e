//! Rows → snapshot: many components at a time, each on its own.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::catalog::{CatalogError, Loader, Snapshot, Tool, files};
use crate::store::ComponentRow;

/// How loading goes on. Reported from several threads.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A component is being read and, unless it's in the cache, compiled.
    Started {
        /// The operator's name for it.
        component: &'a str,
    },
    /// A component is ready.
    Ready {
        /// The operator's name for it.
        component: &'a str,
        /// Whether it was in the cache.
        cached: bool,
        /// How long compiling or loading took.
        took: Duration,
        /// How many are done, this one included.
        done: usize,
        /// How many there are to load.
        total: usize,
    },
    /// A component isn't offered.
    Failed {
        /// The operator's name for it.
        component: &'a str,
        /// Why.
        error: &'a CatalogError,
        /// How many are done, this one included.
        done: usize,
        /// How many there are to load.
        total: usize,
    },
}

type Outcome = Result<Vec<Arc<Tool>>, CatalogError>;

/// Loads what `before` doesn't have.
pub(super) fn load(
    loader: &Loader,
    tools_dir: &Path,
    rows: Vec<ComponentRow>,
    before: &Snapshot,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Snapshot {
    let kept = |row: &ComponentRow| before.loaded(row).map(|tools| Ok(tools.to_vec()));
    let outcomes: Vec<Mutex<Option<Outcome>>> = rows.iter().map(|row| Mutex::new(kept(row))).collect();
    let open: Vec<_> = rows.iter().zip(&outcomes).filter(|(row, _)| before.loaded(row).is_none()).collect();

    let (next, done, total) = (AtomicUsize::new(0), AtomicUsize::new(0), open.len());
    let work = || {
        while let Some((row, slot)) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
            let component = row.name.as_str();
            progress(Progress::Started { component });
            let outcome = one(loader, tools_dir, row);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            match &outcome {
                Ok(inspection) => {
                    let (cached, took) = (inspection.0, inspection.1);
                    progress(Progress::Ready { component, cached, took, done, total });
                }
                Err(error) => progress(Progress::Failed { component, error, done, total }),
            }
            let tools = outcome.map(|(_, _, tools)| tools);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(tools);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(total);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });

    let outcome = |slot: Mutex<Option<Outcome>>| {
        let missing = || Err(CatalogError::Host("loading stopped half-way".to_owned()));
        slot.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(missing)
    };
    Snapshot::assemble(rows.into_iter().zip(outcomes.into_iter().map(outcome)).collect())
}

/// Loads one component: the digest first, whatever else after it; the description last, against the pinned one.
fn one(
    loader: &Loader,
    tools_dir: &Path,
    row: &ComponentRow,
) -> Result<(bool, Duration, Vec<Arc<Tool>>), CatalogError> {
    let bytes = files::read_component(tools_dir, row.digest)?;
    let inspection = loader.inspect_as(&bytes, row.kind, Some(&row.connections))?;
    if inspection.described != row.described {
        return Err(CatalogError::OtherDescription);
    }
    Ok((inspection.cached, inspection.took, inspection.tools))
}
