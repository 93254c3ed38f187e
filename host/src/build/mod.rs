//! From source to a component: what `keybearer tool build` and `keybearer sandbox build` do.
//!
//! A tool's profile is set here and not by the author, so that every tool is small and the same source makes the same
//! digest: paths of the machine are kept out of the result.

mod cargo;
mod component;
mod sandbox;

use std::path::{Path, PathBuf};

use crate::ids::Digest;

pub(crate) use cargo::target_dir;
pub use component::componentize;
pub use sandbox::{SandboxBuildError, SandboxBuildOptions, build_sandbox};

/// What tools are compiled for: the one target whose components import nothing of WASI.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What to build, and where to.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The folder that holds the tool's `Cargo.toml`.
    pub manifest_dir: PathBuf,
    /// The folder that takes `<package>.wasm`; by default `keybearer` in Cargo's target folder.
    pub out_dir: Option<PathBuf>,
    /// Whether `Cargo.lock` has to be up to date already, as it should be in CI.
    pub locked: bool,
}

/// A component that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size, in bytes.
    pub size: usize,
}

/// Why there's no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo can't be started.
    #[error("cargo can't be started: {0}; install Rust from https://rustup.rs, or put `cargo` on the PATH")]
    CargoMissing(std::io::Error),
    /// There's no package in the folder.
    #[error("{0} doesn't exist: name the folder of a tool's package")]
    ManifestMissing(PathBuf),
    /// The toolchain has no standard library for WebAssembly.
    #[error("the toolchain lacks the target {TARGET}; run `rustup target add {TARGET}`")]
    TargetMissing,
    /// The package makes no module.
    #[error(
        "{0} makes no WebAssembly module; its Cargo.toml needs\n\n    [lib]\n    crate-type = [\"cdylib\"]\n"
    )]
    NotCdylib(PathBuf),
    /// Cargo failed; this is what it said.
    #[error("the tool doesn't compile\n\n{0}")]
    Compile(String),
    /// The module isn't one that the SDK makes.
    #[error(
        "the module can't become a component: {0}; is `keybearer_guest::export!` called at the crate's root?"
    )]
    Componentize(String),
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
}

/// Compiles a tool's package and writes its component.
///
/// `progress` hears of each package compiled, and of warnings.
///
/// # Errors
///
/// See [`BuildError`]: each says what to do about it.
pub fn build_tool(options: &BuildOptions, progress: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let module = cargo::compile(options, progress)?;
    let component = componentize(&read(&module.path)?)?;
    let out_dir = options.out_dir.clone().unwrap_or_else(|| module.default_out_dir.clone());
    let path = out_dir.join(format!("{}.wasm", module.package));
    write(&out_dir, &path, &component)?;
    Ok(Built { path, digest: Digest::of(&component), size: component.len() })
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
}

/// Writes beside the file and renames, so that nobody reads half a component.
fn write(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let attempt = || {
        std::fs::create_dir_all(dir)?;
        let file = tempfile::NamedTempFile::new_in(dir)?;
        std::fs::write(file.path(), bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(|source| BuildError::File { path: path.to_owned(), source })
}
