//! From Python and packages to the component that runs code: what `keybearer sandbox build` does.
//!
//! The interpreter, the standard library and the packages come from the package index, pinned; our own part is
//! embedded in this program. Nothing of what is put in runs on this machine: wheels are only unpacked, and what
//! componentize-py runs while it takes the snapshot runs inside WebAssembly.

mod image;
mod link;
mod python;
mod sources;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Built;
use crate::ids::Digest;
use python::Environment;

/// What to put in, and where to put the component.
#[derive(Debug, Clone)]
pub struct SandboxBuildOptions {
    /// Packages to put in, as `NAME==VERSION`.
    pub with: Vec<String>,
    /// A requirements file for pip with more of them.
    pub requirements: Option<PathBuf>,
    /// The component's file.
    pub output: PathBuf,
    /// The folder that keeps the environment with componentize-py between builds.
    pub cache: PathBuf,
}

/// Why there's no component.
#[derive(Debug, thiserror::Error)]
pub enum SandboxBuildError {
    /// Python can't be started.
    #[error("Python can't be started: {0}; install Python 3.10 or newer, or name one in the variable PYTHON")]
    PythonMissing(std::io::Error),
    /// Python is too old.
    #[error(
        "this Python is too old, or none at all: {0:?}; install 3.10 or newer, or name one in the variable PYTHON"
    )]
    PythonTooOld(String),
    /// Python can't make environments.
    #[error(
        "Python can't make virtual environments here; on Debian and Ubuntu: apt install python3-venv\n\n{0}"
    )]
    NoEnvironment(String),
    /// componentize-py can't be installed.
    #[error(
        "componentize-py can't be installed; is the package index reachable? pip takes an index, a proxy and \
         certificates from its own configuration (`pip config list`) and from PIP_* variables\n\n{0}"
    )]
    Tools(String),
    /// A package isn't named as it has to be.
    #[error("{0:?} doesn't name a package and its version; write it as python-dateutil==2.9.0.post0")]
    Name(String),
    /// Packages can't be installed.
    #[error("the packages can't be installed\n\n{0}")]
    Packages(String),
    /// A package has native code.
    #[error("{0} is native code; only packages of pure Python can be put into the sandbox")]
    Native(String),
    /// componentize-py failed.
    #[error("the component can't be made\n\n{0}")]
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

/// Makes the component that runs Python. Takes about half a minute, and more the first time.
///
/// `progress` hears of each step.
///
/// # Errors
///
/// See [`SandboxBuildError`]: each says what to do about it.
pub fn build_sandbox(
    options: &SandboxBuildOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<Built, SandboxBuildError> {
    for package in &options.with {
        check_name(package)?;
    }
    let file = |path: &Path| {
        let path = path.to_owned();
        |source| SandboxBuildError::File { path, source }
    };
    let requirements = match &options.requirements {
        Some(path) => Some(path.canonicalize().map_err(file(path))?),
        None => None,
    };
    let environment = Environment::open(&options.cache, progress)?;
    let dir = tempfile::tempdir().map_err(file(Path::new("a temporary folder")))?;
    sources::write(dir.path())?;
    let packages = dir.path().join("packages");
    environment.install_own(&packages)?;
    let mut wanted: Vec<OsString> = options.with.iter().map(Into::into).collect();
    if let Some(path) = requirements {
        wanted.extend(["--requirement".into(), path.into()]);
    }
    if !wanted.is_empty() {
        progress("installing the packages");
        environment.install(&packages, &wanted)?;
    }
    for name in take_stock(&packages).map_err(file(&packages))? {
        progress(&format!("with {}", name?));
    }
    progress("compiling the standard library inside the component: about half a minute");
    let made = dir.path().join("python.wasm");
    environment.componentize(dir.path(), &made)?;
    let mut component = std::fs::read(&made).map_err(file(&made))?;
    let lasting = image::immortalize(&mut component).map_err(SandboxBuildError::Componentize)?;
    tracing::debug!(lasting, "objects of the image were made immortal");
    let component = link::link(&component).map_err(SandboxBuildError::Componentize)?;
    let parent = options.output.parent().filter(|parent| !parent.as_os_str().is_empty());
    super::write(parent.unwrap_or(Path::new(".")), &options.output, &component).map_err(|error| {
        SandboxBuildError::File {
            path: options.output.clone(),
            source: std::io::Error::other(error.to_string()),
        }
    })?;
    Ok(Built { path: options.output.clone(), digest: Digest::of(&component), size: component.len() })
}

/// A name and one exact version. Anything else would be an option of pip, a path, or another package next year.
fn check_name(package: &str) -> Result<(), SandboxBuildError> {
    let wrong = || SandboxBuildError::Name(package.to_owned());
    let (name, version) = package.split_once("==").ok_or_else(wrong)?;
    let plain = |text: &str, more: &str| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(|char| char.is_ascii_alphanumeric() || more.contains(char))
    };
    if plain(name, "._-") && plain(version, "._+!") { Ok(()) } else { Err(wrong()) }
}

/// What was installed, by name and version, or the native code that was found among it.
fn take_stock(packages: &Path) -> std::io::Result<Vec<Result<String, SandboxBuildError>>> {
    let mut found = Vec::new();
    let mut folders = vec![packages.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if [".so", ".pyd", ".dylib", ".dll"].iter().any(|end| name.ends_with(end))
                || name.contains(".so.")
            {
                let shown = path.strip_prefix(packages).unwrap_or(&path).display().to_string();
                found.push(Err(SandboxBuildError::Native(shown)));
            } else if entry.file_type()?.is_dir() {
                if let Some(stem) = name.strip_suffix(".dist-info") {
                    found.push(Ok(stem.replacen('-', " ", 1)));
                }
                folders.push(path);
            }
        }
    }
    found.sort_by_key(|one| one.as_ref().ok().cloned());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_a_name_and_one_version() {
        for right in ["six==1.17.0", "python-dateutil==2.9.0.post0", "a.b_c==1!2.0+local"] {
            check_name(right).unwrap();
        }
        for wrong in [
            "six",
            "six>=1",
            "==1",
            "six==",
            "--index-url==1",
            "-r==1",
            "six==1 --pre",
            "six==1\n--pre",
            "six==*",
            "./six==1",
            "six@https://example.com/six.whl",
        ] {
            assert!(matches!(check_name(wrong), Err(SandboxBuildError::Name(_))), "{wrong}");
        }
    }

    #[test]
    fn native_code_is_found_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("pkg/inner");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::create_dir_all(dir.path().join("pkg-1.0.dist-info")).unwrap();
        std::fs::write(dir.path().join("pkg/plain.py"), "").unwrap();
        let stock = take_stock(dir.path()).unwrap();
        assert_eq!(stock.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), ["pkg 1.0"]);
        std::fs::write(inner.join("fast.cpython-314-x86_64-linux-gnu.so"), "").unwrap();
        let stock = take_stock(dir.path()).unwrap().into_iter().collect::<Result<Vec<_>, _>>();
        let error = stock.unwrap_err().to_string();
        assert!(error.starts_with("pkg/inner/fast."), "{error}");
    }
}
