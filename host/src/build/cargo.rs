//! Cargo, run for its one artifact.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::{BuildError, BuildOptions, TARGET};

/// The profile of every tool: small, without unwinding, without names.
const PROFILE: [&str; 5] = [
    "profile.release.opt-level=\"s\"",
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=true",
];

/// The stack of every tool, in bytes. The linker's own choice, a megabyte, is more than a tool's shallow calls need.
const STACK_BYTES: u32 = 256 * 1024;

/// The heap that every tool begins with beyond its stack and its data, in bytes: enough for an ordinary call, so that an
/// instance needn't grow its memory, which would cost each call system calls. The linker takes whole pages of 64 KiB. With
/// the data of a small tool it's a megabyte in all.
///
/// It's the linker's business, since the SDK's allocator starts in what lies between the linker's `__heap_base` and
/// `__heap_end`: a memory that is made larger afterwards would lie idle.
const HEAP_BYTES: u32 = 704 * 1024;

/// A core module that Cargo made.
pub(super) struct Module {
    pub(super) path: PathBuf,
    pub(super) package: String,
    pub(super) default_out_dir: PathBuf,
}

/// Builds the package's library.
pub(super) fn compile(options: &BuildOptions, progress: &mut dyn FnMut(&str)) -> Result<Module, BuildError> {
    let manifest = options.manifest_dir.join("Cargo.toml");
    let manifest = manifest.canonicalize().map_err(|_| BuildError::ManifestMissing(manifest))?;
    let mut child = command(options, &manifest).spawn().map_err(BuildError::CargoMissing)?;

    // Standard error is drained beside standard output: a full pipe would stop Cargo.
    let stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            _ = stderr.read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut module = None;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
            if let Some(package) = message.compiled() {
                progress(&format!("compiled {package}"));
            }
            module = message.into_module(&manifest).or(module);
        }
    }
    let failed = !child.wait().map_err(BuildError::CargoMissing)?.success();
    let said = said.join().unwrap_or_default();

    if failed {
        return Err(explain(&manifest, said));
    }
    for line in said.lines() {
        progress(line);
    }
    module.ok_or(BuildError::NotCdylib(manifest))
}

fn command(options: &BuildOptions, manifest: &Path) -> Command {
    let mut command = Command::new(program("CARGO", "cargo"));
    command.args(["build", "--lib", "--release", "--quiet", "--message-format=json-render-diagnostics"]);
    command.args(["--target", TARGET, "--manifest-path"]).arg(manifest);
    for setting in PROFILE {
        command.args(["--config", setting]);
    }
    if options.locked {
        command.arg("--locked");
    }
    // Rust's toolchain files and Cargo's configuration are looked up from the working folder.
    if let Some(folder) = manifest.parent() {
        command.current_dir(folder);
    }
    // Flags meant for native code don't reach the tool, and paths of this machine don't reach its digest.
    let mut flags = remapped_paths(manifest);
    flags.push(format!("-Clink-arg=-zstack-size={STACK_BYTES}").into());
    flags.push(format!("-Clink-arg=--initial-heap={HEAP_BYTES}").into());
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}".as_ref()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Flags that shorten the paths in panic messages: the workspace's root becomes `.`, Cargo's home `cargo`.
fn remapped_paths(manifest: &Path) -> Vec<OsString> {
    let root = manifest.ancestors().filter(|folder| folder.join("Cargo.lock").exists()).last();
    let root = root.or_else(|| manifest.parent()).map(|root| root.as_os_str().to_owned());
    let home = std::env::var_os("CARGO_HOME")
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo").into_os_string()));
    let flag = |(path, name): (Option<OsString>, &str)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(path?);
        flag.push("=");
        flag.push(name);
        Some(flag)
    };
    [(root, "."), (home, "cargo")].into_iter().filter_map(flag).collect()
}

/// The folder that Cargo builds this folder's package in, as its configuration and environment say. `None` where Cargo can't
/// tell. It takes a while to, so it's asked once about each package.
pub(crate) fn target_dir(package: &Path) -> Option<PathBuf> {
    static SAID: Mutex<BTreeMap<PathBuf, Option<PathBuf>>> = Mutex::new(BTreeMap::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.entry(package.to_owned()).or_insert_with(|| ask_target_dir(package)).clone()
}

fn ask_target_dir(package: &Path) -> Option<PathBuf> {
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo.args(["metadata", "--no-deps", "--format-version=1"]).current_dir(package).stdin(Stdio::null());
    let said = cargo.output().ok()?.stdout;
    serde_json::from_slice::<Metadata>(&said).ok().map(|metadata| metadata.target_directory)
}

fn program(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}

/// The reason that a person can act on, where it's a known one.
fn explain(manifest: &Path, said: String) -> BuildError {
    if said.contains("no library targets found") {
        return BuildError::NotCdylib(manifest.to_owned());
    }
    if said.contains("target may not be installed") && !target_is_installed(manifest) {
        return BuildError::TargetMissing;
    }
    BuildError::Compile(said)
}

/// Whether the toolchain of this folder has a standard library for the target.
fn target_is_installed(manifest: &Path) -> bool {
    let mut rustc = Command::new(program("RUSTC", "rustc"));
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    if let Some(folder) = manifest.parent() {
        rustc.current_dir(folder);
    }
    let Ok(output) = rustc.output() else { return true };
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
}

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

/// A line of `--message-format=json`, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    fresh: bool,
    target: Option<Target>,
    package_id: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Message {
    /// The package's name, if this message says that it was compiled just now.
    fn compiled(&self) -> Option<&str> {
        let target = self.target.as_ref()?;
        (self.reason == "compiler-artifact" && !self.fresh && target.kind != ["custom-build"])
            .then_some(target.name.as_str())
    }

    fn into_module(self, manifest: &Path) -> Option<Module> {
        let target = self.target?;
        if self.manifest_path != manifest || !target.kind.iter().any(|kind| kind == "cdylib") {
            return None;
        }
        let path =
            self.filenames.into_iter().find(|file| file.extension().is_some_and(|end| end == "wasm"))?;
        // …/target/wasm32-unknown-unknown/release/name.wasm
        let default_out_dir = path.ancestors().nth(3)?.join("keybearer");
        let package = self.package_id.as_deref().and_then(package_name).unwrap_or(&target.name).to_owned();
        Some(Module { path, package, default_out_dir })
    }
}

/// The name in a package id: `path+file:///…/stripe#0.1.0`, or `…#name@0.1.0` where the folder is named otherwise.
fn package_name(id: &str) -> Option<&str> {
    let (url, fragment) = id.rsplit_once('#')?;
    match fragment.split_once('@') {
        Some((name, _)) => Some(name),
        None => url.rsplit('/').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::{BuildError, HEAP_BYTES, Message, STACK_BYTES, compile, explain, package_name};
    use crate::build::{BuildOptions, build_tool};
    use std::path::Path;

    use wasmparser::{Parser, Payload};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn options(folder: &tempfile::TempDir) -> BuildOptions {
        let out_dir = Some(folder.path().join("out"));
        BuildOptions { manifest_dir: folder.path().to_owned(), out_dir, locked: false }
    }

    fn build(files: &[(&str, &str)]) -> BuildError {
        build_tool(&options(&folder(files)), &mut |_| ()).unwrap_err()
    }

    const PACKAGE: &str =
        "[package]\nname = \"thing\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n";

    #[test]
    fn a_folder_without_a_package() {
        let error = build(&[]);
        assert!(matches!(error, BuildError::ManifestMissing(_)), "{error}");
    }

    #[test]
    fn a_program_or_a_plain_library_is_told_what_to_write() {
        for source in ["src/main.rs", "src/lib.rs"] {
            let error = build(&[("Cargo.toml", PACKAGE), (source, "#[allow(dead_code)] fn main() {}")]);
            assert!(matches!(error, BuildError::NotCdylib(_)), "{error}");
            assert!(error.to_string().contains("crate-type = [\"cdylib\"]"), "{error}");
        }
    }

    #[test]
    fn what_the_compiler_says_is_passed_on() {
        let manifest = format!("{PACKAGE}\n[lib]\ncrate-type = [\"cdylib\"]\n");
        let error = build(&[("Cargo.toml", &manifest), ("src/lib.rs", "fn main() { missing() }")]);
        assert!(error.to_string().contains("cannot find function `missing`"), "{error}");
    }

    #[test]
    fn a_module_that_is_no_tool_is_told_about_export() {
        let manifest = format!("{PACKAGE}\n[lib]\ncrate-type = [\"cdylib\"]\n");
        let error = build(&[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
        assert!(error.to_string().contains("keybearer_guest::export!"), "{error}");
    }

    #[test]
    fn static_data_of_any_size_has_its_heap_beside_it() {
        const DATA_BYTES: u32 = 2 * 1024 * 1024;
        let manifest = format!("{PACKAGE}\n[lib]\ncrate-type = [\"cdylib\"]\n");
        // Exported, or it would be left out.
        let source =
            format!("#[unsafe(no_mangle)]\npub static DATA: [u8; {DATA_BYTES}] = [7; {DATA_BYTES}];\n");
        let folder = folder(&[("Cargo.toml", &manifest), ("src/lib.rs", &source)]);
        let module = compile(&options(&folder), &mut |_| ()).unwrap_or_else(|error| panic!("{error}"));
        let bytes = std::fs::read(&module.path).unwrap();
        let pages = Parser::new(0).parse_all(&bytes).find_map(|payload| match payload.unwrap() {
            Payload::MemorySection(memories) => {
                memories.into_iter().next().map(|memory| memory.unwrap().initial)
            }
            _ => None,
        });
        let needed = u64::from(DATA_BYTES + STACK_BYTES + HEAP_BYTES);
        assert!(pages.unwrap() * 65_536 >= needed, "{pages:?} pages hold less than {needed} bytes");
    }

    #[test]
    fn other_failures_keep_their_words() {
        let error = explain(Path::new("/x/Cargo.toml"), "linker failed".into());
        assert!(matches!(&error, BuildError::Compile(said) if said == "linker failed"), "{error}");
    }

    #[test]
    fn package_names() {
        assert_eq!(package_name("path+file:///w/tools/stripe#0.1.0"), Some("stripe"));
        assert_eq!(package_name("path+file:///w/tools/stripe#stripe-tool@0.1.0"), Some("stripe-tool"));
    }

    #[test]
    fn only_the_packages_own_module_counts() {
        let message = |manifest: &str, kind: &str| {
            let line = format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/a#0.1.0","manifest_path":"{manifest}",
                "target":{{"name":"a","kind":["{kind}"]}},"filenames":["/t/wasm32-unknown-unknown/release/a.wasm"],"fresh":true}}"#
            );
            serde_json::from_str::<Message>(&line).unwrap().into_module(Path::new("/w/a/Cargo.toml"))
        };
        let module = message("/w/a/Cargo.toml", "cdylib").unwrap();
        assert_eq!((module.package.as_str(), &*module.default_out_dir), ("a", Path::new("/t/keybearer")));
        assert!(message("/w/b/Cargo.toml", "cdylib").is_none());
        assert!(message("/w/a/Cargo.toml", "lib").is_none());
    }
}
