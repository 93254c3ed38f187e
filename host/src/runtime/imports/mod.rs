//! The two linkers: the contract's imports alone, and the same with an empty WASI.

mod http;
mod log;
mod wasi;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::runtime::admission::is_wasi;
use crate::runtime::bindings::Tool;
use crate::runtime::guest::Guest;

pub(super) use wasi::EmptyWasi;

/// One linker for each kind of component. Linking happens when a component is prepared, never in a call.
pub(super) struct Linkers {
    bare: Linker<Guest>,
    with_wasi: Linker<Guest>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut bare = Linker::new(engine);
        Tool::add_to_linker::<_, HasSelf<Guest>>(&mut bare, |guest| guest)?;
        let mut with_wasi = bare.clone();
        wasmtime_wasi::p2::add_to_linker_async(&mut with_wasi)?;
        Ok(Self { bare, with_wasi })
    }

    /// The linker for a component with these imports: it has WASI only if the component asks for it.
    pub(super) fn for_imports(&self, names: &[String]) -> &Linker<Guest> {
        if names.iter().any(|name| is_wasi(name)) { &self.with_wasi } else { &self.bare }
    }
}

/// What an import call gets while a component describes itself.
#[derive(Debug, thiserror::Error)]
#[error("`describe` called `{0}`: a component describes itself without any import")]
pub(super) struct NoRights(pub(super) &'static str);
