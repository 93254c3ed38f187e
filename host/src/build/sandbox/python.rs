//! Python and pip, run for what they make.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{SandboxBuildError, sources};
use crate::ids::Digest;

/// The oldest Python that componentize-py runs on.
const OLDEST: (u32, u32) = (3, 10);
/// The Python inside the component: packages have to be for it.
const INSIDE: &str = "3.14";
/// What a folder holds once its environment is whole.
const WHOLE: &str = "whole";

/// Where an environment keeps the wheels of the packages that every component holds.
const WHEELS: &str = "wheels";
/// Wheels for any platform, and no others: what isn't pure Python isn't found, and nothing is built.
const PURE: [&str; 10] = [
    "--only-binary",
    ":all:",
    "--platform",
    "any",
    "--implementation",
    "py",
    "--abi",
    "none",
    "--python-version",
    INSIDE,
];

/// An environment that has componentize-py.
pub(super) struct Environment {
    dir: PathBuf,
    python: PathBuf,
}

impl Environment {
    /// The environment in `cache`, made first if it isn't there. It's named after its pins and its Python, and made
    /// anew when either changes.
    pub(super) fn open(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self, SandboxBuildError> {
        let version = version()?;
        let pins = format!("{version}\n{}\n{}", sources::TOOLS, sources::PACKAGES);
        let dir = cache.join(hex::encode(Digest::of(pins.as_bytes()).0.get(..8).unwrap_or_default()));
        let environment = Self { python: dir.join("bin").join("python"), dir: dir.clone() };
        if dir.join(WHOLE).is_file() && environment.python.exists() {
            return Ok(environment);
        }
        progress(&format!("making a Python environment with componentize-py in {}", dir.display()));
        let file = |source| SandboxBuildError::File { path: dir.clone(), source };
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(file)?;
        }
        std::fs::create_dir_all(cache).map_err(file)?;
        let mut make = isolated(python());
        make.args(["-m", "venv"]).arg(&dir);
        let made = run(&mut make)?;
        if !made.ok {
            return Err(SandboxBuildError::NoEnvironment(made.said));
        }
        let mut install = environment.pip("install");
        install.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]);
        install.arg(environment.pins("requirements.txt", sources::TOOLS)?);
        let mut download = environment.pip("download");
        download.args(PURE).args(["--require-hashes", "--no-deps", "--dest"]).arg(dir.join(WHEELS));
        download.arg("--requirement").arg(environment.pins("packages.txt", sources::PACKAGES)?);
        for mut command in [install, download] {
            let ran = run(&mut command)?;
            if !ran.ok {
                return Err(SandboxBuildError::Tools(ran.said));
            }
        }
        sources::put(&dir.join(WHOLE), "")?;
        Ok(environment)
    }

    /// Installs the packages that every component holds, from what was kept.
    pub(super) fn install_own(&self, into: &Path) -> Result<(), SandboxBuildError> {
        let pins = self.pins("packages.txt", sources::PACKAGES)?;
        let wheels = self.dir.join(WHEELS);
        let from: [OsString; 5] =
            ["--no-index".into(), "--find-links".into(), wheels.into(), "--requirement".into(), pins.into()];
        self.install(into, &from)
    }

    /// Installs packages into a folder: wheels of pure Python, and nothing that would have to be built.
    pub(super) fn install(&self, into: &Path, what: &[OsString]) -> Result<(), SandboxBuildError> {
        let mut install = self.pip("install");
        install.args(PURE).args(["--no-compile", "--upgrade", "--target"]).arg(into).args(what);
        let installed = run(&mut install)?;
        if installed.ok { Ok(()) } else { Err(SandboxBuildError::Packages(explain(&installed.said))) }
    }

    /// Makes a component of the folders `app`, `packages` and `wit` below `dir`.
    pub(super) fn componentize(&self, dir: &Path, component: &Path) -> Result<(), SandboxBuildError> {
        let mut make = isolated(&self.python);
        make.args(["-c", "import componentize_py; componentize_py.script()", "--quiet"]);
        make.args(["--wit-path", "wit", "--world", "keybearer:tool/tool", "componentize"]);
        // The order names the folders inside: the app is `/0`, the packages are `/1`.
        make.args(["--python-path", "app", "--python-path", "packages", "--output"]).arg(component);
        make.arg("app").current_dir(dir);
        make.env_remove("VIRTUAL_ENV");
        let made = run(&mut make)?;
        if made.ok { Ok(()) } else { Err(SandboxBuildError::Componentize(without_backtrace(&made.said))) }
    }

    /// A requirements file of ours, written.
    fn pins(&self, name: &str, text: &str) -> Result<PathBuf, SandboxBuildError> {
        let path = self.dir.join(name);
        sources::put(&path, text)?;
        Ok(path)
    }

    fn pip(&self, command: &str) -> Command {
        let mut pip = isolated(&self.python);
        pip.args(["-m", "pip", command, "--quiet", "--no-input", "--disable-pip-version-check"]);
        pip
    }
}

/// A Python that imports nothing from the working folder, which `-m` and `-c` look into first: it may be a checkout of
/// somebody else's. Nor from the user's own packages, or where a variable says.
fn isolated(python: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(python);
    command.arg("-I");
    command
}

/// What a command said, and whether it ended well.
struct Ran {
    ok: bool,
    said: String,
}

fn run(command: &mut Command) -> Result<Ran, SandboxBuildError> {
    // Only what's named shall be found, by what Python starts and by the component's build, too.
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").stdin(Stdio::null());
    let output = command.output().map_err(SandboxBuildError::PythonMissing)?;
    let said = [output.stdout, output.stderr].concat();
    Ok(Ran { ok: output.status.success(), said: String::from_utf8_lossy(&said).trim().to_owned() })
}

/// `python3`, or what the variable PYTHON names.
fn python() -> OsString {
    std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into())
}

fn version() -> Result<String, SandboxBuildError> {
    let said = run(Command::new(python()).arg("--version"))?.said;
    match said.strip_prefix("Python ").map(numbers) {
        Some(found) if found >= OLDEST => Ok(said),
        _ => Err(SandboxBuildError::PythonTooOld(said)),
    }
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// What pip said, with what to do about it where that's known.
fn explain(said: &str) -> String {
    let advice = if said.contains("No matching distribution found") && !unreachable(said) {
        "There's no wheel of pure Python for this name and version. A package with native code can't be put into the \
         sandbox; otherwise look at the spelling and the version."
    } else if unreachable(said) {
        "Is the package index reachable? pip takes an index, a proxy and certificates from its own configuration \
         (`pip config list`) and from PIP_* variables."
    } else if said.contains("conflict") {
        "These packages don't go together in these versions."
    } else {
        return said.to_owned();
    };
    format!("{said}\n\n{advice}")
}

fn unreachable(said: &str) -> bool {
    ["NewConnectionError", "ConnectTimeoutError", "Max retries exceeded", "SSLError", "ProxyError"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// componentize-py adds its own stack to each message; the Python traceback before it is what helps.
fn without_backtrace(said: &str) -> String {
    said.split("\nStack backtrace:").next().unwrap_or(said).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("3.9.18") < OLDEST);
        assert!(numbers("3.10.0rc1") >= OLDEST);
        assert!(numbers("3.14.0") >= OLDEST);
    }

    #[test]
    fn nothing_in_the_working_folder_is_run() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("planted.py"), "print('planted')").unwrap();
        for arguments in [["-m", "planted"], ["-c", "import planted"]] {
            let ran = run(isolated(python()).args(arguments).current_dir(folder.path())).unwrap();
            assert!(!ran.ok && ran.said.contains("No module named"), "{}", ran.said);
        }
        let environment = Environment { dir: PathBuf::new(), python: python().into() };
        assert_eq!(environment.pip("install").get_args().next(), Some(OsStr::new("-I")));
    }

    #[test]
    fn what_pip_says_comes_with_what_to_do() {
        let missing = explain("ERROR: No matching distribution found for numpy==2.0.0");
        assert!(missing.contains("native code"), "{missing}");
        let down = explain("WARNING: NewConnectionError\nERROR: No matching distribution found for six==1");
        assert!(down.contains("Is the package index reachable?") && !down.contains("native code"), "{down}");
        assert_eq!(explain("disk full"), "disk full");
    }

    #[test]
    fn a_componentize_message_ends_before_its_stack() {
        assert_eq!(without_backtrace("Traceback: x\n\nStack backtrace:\n 0: main"), "Traceback: x");
    }
}
