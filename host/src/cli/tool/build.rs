//! `keybearer tool build`.

use std::path::PathBuf;

use serde_json::json;

use super::inspect::inspect;
use crate::build::{BuildOptions, Built, build_tool};
use crate::catalog::CodeCache;
use crate::cli::Done;
use crate::cli::context::{cache_dir, say};
use crate::cli::out::Out;

/// Flags of `tool build`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Build {
    /// The crate's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder that the component goes to, as NAME.wasm [default: `keybearer` in the target folder].
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Refuse to change Cargo.lock.
    #[arg(long)]
    locked: bool,
    /// Don't ask whether a host would take the component. Without this, one that it wouldn't is an error; its file is there
    /// all the same.
    #[arg(long)]
    unchecked: bool,
}

impl Build {
    pub(super) fn run(self, out: &Out) -> anyhow::Result<Done> {
        let options = BuildOptions { manifest_dir: self.dir, out_dir: self.out_dir, locked: self.locked };
        let built = build_tool(&options, &mut say(out))?;
        if !self.unchecked {
            // What is compiled for it is kept for `tool test`.
            check(&built, cache_dir().map_or_else(CodeCache::off, |dir| CodeCache::shared(&dir)))?;
        }
        out.line(format!("{}  {} bytes  {}", built.path.display(), built.size, built.digest));
        out.value(&json!({ "path": built.path, "bytes": built.size, "digest": built.digest }));
        Ok(Done::Well)
    }
}

/// Asks the component for its tools, as a host does that it's added to.
fn check(built: &Built, cache: CodeCache) -> anyhow::Result<()> {
    inspect(&built.path, cache).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Digest;
    use crate::runtime::test_guest::TestGuest;

    #[test]
    fn a_component_that_no_host_would_take_is_an_error_that_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let built = |guest: TestGuest| {
            let (path, bytes) = (dir.path().join("probe.wasm"), guest.build());
            std::fs::write(&path, &bytes).unwrap();
            Built { path, digest: Digest::of(&bytes), size: bytes.len() }
        };
        check(&built(TestGuest::default()), CodeCache::off()).unwrap();
        let open = r#"{"type":"object","properties":{}}"#;
        let refused = built(TestGuest { input: open, ..TestGuest::default() });
        let error = format!("{:#}", check(&refused, CodeCache::off()).unwrap_err());
        assert!(error.starts_with(&refused.path.display().to_string()), "{error}");
        assert!(error.contains("can't be used") && error.contains("additionalProperties"), "{error}");
    }
}
