//! Components for a test: those that `cargo xtask` has built, or built now.

use std::path::{Path, PathBuf};

use keybearer::build::{BuildOptions, build_tool};

/// The bytes of a component of `tools` or `tests/guests`.
pub(crate) fn component(folder: &str, name: &str) -> Vec<u8> {
    if let Some(built) = std::env::var_os("KEYBEARER_TEST_COMPONENTS") {
        let file = PathBuf::from(built).join(folder.replace('/', "-")).join(format!("{name}.wasm"));
        return std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let options = BuildOptions {
        manifest_dir: root.join(folder).join(name),
        out_dir: Some(out.path().to_owned()),
        locked: true,
    };
    let built = build_tool(&options, &mut |_| ()).unwrap();
    std::fs::read(&built.path).unwrap()
}
