//! What the component is made of, embedded: who has this program and Python needs nothing else of ours.

use std::path::Path;

use super::SandboxBuildError;

/// Python files, by their path in the component's folder.
const PYTHON: &[(&str, &str)] = &[
    ("app.py", include_str!("../../../../tools/python/app.py")),
    ("keybearer.py", include_str!("../../../../tools/python/keybearer.py")),
    ("keybearer_sandbox/__init__.py", include_str!("../../../../tools/python/keybearer_sandbox/__init__.py")),
    ("keybearer_sandbox/absent.py", include_str!("../../../../tools/python/keybearer_sandbox/absent.py")),
    ("keybearer_sandbox/build.py", include_str!("../../../../tools/python/keybearer_sandbox/build.py")),
    ("keybearer_sandbox/image.py", include_str!("../../../../tools/python/keybearer_sandbox/image.py")),
    ("keybearer_sandbox/library.py", include_str!("../../../../tools/python/keybearer_sandbox/library.py")),
    ("keybearer_sandbox/loop.py", include_str!("../../../../tools/python/keybearer_sandbox/loop.py")),
    ("keybearer_sandbox/output.py", include_str!("../../../../tools/python/keybearer_sandbox/output.py")),
    (
        "keybearer_sandbox/resources.py",
        include_str!("../../../../tools/python/keybearer_sandbox/resources.py"),
    ),
    ("keybearer_sandbox/run.py", include_str!("../../../../tools/python/keybearer_sandbox/run.py")),
    ("keybearer_sandbox/standard.py", include_str!("../../../../tools/python/keybearer_sandbox/standard.py")),
];

const WORLD: &str = include_str!("../../../../wit/tool.wit");

/// What makes the component, pinned with hashes.
pub(super) const TOOLS: &str = include_str!("../../../../tools/python/requirements.txt");
/// The packages that every component holds, pinned with hashes.
pub(super) const PACKAGES: &str = include_str!("../../../../tools/python/packages.txt");

/// Writes the Python files to `app` and the world to `wit`, both below `dir`.
pub(super) fn write(dir: &Path) -> Result<(), SandboxBuildError> {
    for (path, text) in PYTHON {
        put(&dir.join("app").join(path), text)?;
    }
    put(&dir.join("wit").join("tool.wit"), WORLD)
}

/// Writes one file, with the folders above it.
pub(super) fn put(path: &Path, text: &str) -> Result<(), SandboxBuildError> {
    let attempt = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)
    };
    attempt().map_err(|source| SandboxBuildError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_python_file_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/python");
        let mut found = Vec::new();
        for folder in ["", "keybearer_sandbox"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "py") {
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        assert_eq!(found, PYTHON.iter().map(|(path, _)| *path).collect::<Vec<_>>());
    }
}
