//! Virtual environments with the frameworks that the demo and the tests run, pinned. pip's own configuration decides
//! where packages come from.

use std::fs;
use std::process::Command;

use super::stamp::Stamp;
use crate::failure::{Failure, Outcome, cannot};
use crate::place::Place;
use crate::step::Step;

/// The pinned packages need this.
const OLDEST: (u32, u32) = (3, 11);

/// Packages that are installed together.
pub(crate) struct Environment {
    /// Its folder below the target directory.
    pub folder: &'static str,
    title: &'static str,
    /// The file that pins every package.
    requirements: &'static str,
}

impl Environment {
    /// The variable that tells the tests where it is.
    pub(crate) fn variable(&self) -> String {
        format!("KEYBEARER_{}", self.folder.to_uppercase().replace('-', "_"))
    }
}

/// AutoGen and the fake Stripe: all that the demo needs. pytest runs in it.
pub(crate) const MAIN: Environment =
    Environment { folder: "venv", title: "Python packages", requirements: "tests/python/requirements.txt" };

/// Frameworks whose packages exclude AutoGen's, or each other's. Scripts that the tests start run in them.
pub(crate) const FRAMEWORKS: [Environment; 3] = [
    Environment {
        folder: "venv-classic",
        title: "Python packages: AG2 classic",
        requirements: "tests/python/requirements/classic.txt",
    },
    Environment {
        folder: "venv-ag2",
        title: "Python packages: AG2 1.x",
        requirements: "tests/python/requirements/ag2.txt",
    },
    Environment {
        folder: "venv-agent-framework",
        title: "Python packages: Agent Framework",
        requirements: "tests/python/requirements/agent-framework.txt",
    },
];

/// Makes an environment, or makes it anew when its pins or the Python changed.
pub(super) fn make(place: &Place, environment: &Environment) -> Outcome<()> {
    let mut step = Step::begin(environment.title);
    let version = version()?;
    let file = place.root.join(environment.requirements);
    let pins = fs::read_to_string(&file).map_err(cannot("read", &file))?;
    let stamp = Stamp::over_text(place, environment.folder, format!("{version}\n{pins}"))?;
    let venv = place.venv(environment);
    let pip = venv.join("bin/python");
    if stamp.is_fresh() && pip.exists() {
        step.passed("");
        return Ok(());
    }

    if venv.exists() {
        fs::remove_dir_all(&venv).map_err(cannot("remove", &venv))?;
    }
    let mut create = place.command(python());
    create.args(["-m", "venv"]).arg(&venv);
    let advice =
        "Python can't make virtual environments here. On Debian and Ubuntu: apt install python3-venv";
    if let Err(failure) = step.must(place, create, advice) {
        // A half-made environment would look like a whole one next time.
        fs::remove_dir_all(&venv).ok();
        return Err(failure);
    }

    let mut install = place.command(pip);
    install
        .args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--requirement"])
        .arg(&file);
    let advice = "Is the package index reachable? pip takes an index, a proxy and certificates from its own \
                  configuration (`pip config list`) and from PIP_* variables.";
    step.must(place, install, advice)?;
    stamp.write()?;
    step.passed("installed");
    Ok(())
}

/// `python3`, or what the variable PYTHON names.
fn python() -> String {
    std::env::var("PYTHON").unwrap_or_else(|_| "python3".into())
}

fn version() -> Outcome<String> {
    let name = python();
    let missing = || {
        Failure::Told(format!(
            "\n{name} can't be run: install Python {}.{} or newer, or name one in the variable PYTHON",
            OLDEST.0, OLDEST.1
        ))
    };
    let output = Command::new(&name).arg("--version").output().map_err(|_| missing())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let number = text.strip_prefix("Python ").ok_or_else(missing)?;
    let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < OLDEST {
        return Err(missing());
    }
    Ok(text)
}
