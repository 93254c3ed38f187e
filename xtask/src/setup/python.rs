//! Virtual environments with the frameworks that the demo and the tests run, pinned. pip's own configuration decides
//! where packages come from.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;

use super::stamp::Stamp;
use crate::failure::{Failure, Outcome, cannot};
use crate::place::Place;
use crate::step::{self, Logged, Step};

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

/// Environments in the making, by a thread of its own: pip uses one core and waits for the network, Cargo takes what is
/// left. Dropping it stops what is under way.
pub(super) struct Environments {
    wanted: Vec<&'static Environment>,
    made: Receiver<Outcome<&'static str>>,
    maker: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Environments {
    /// Begins to make environments one after the other, or to make anew those whose pins or Python changed.
    pub(super) fn begin(place: &Place, wanted: Vec<&'static Environment>) -> Outcome<Self> {
        let version = version()?;
        let (done, made) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let maker = std::thread::spawn({
            let (place, wanted, stop) = (place.clone(), wanted.clone(), stop.clone());
            move || {
                for environment in wanted {
                    let made = make(&place, environment, &version, &stop);
                    // The first that fails is reported, and ends the set-up.
                    let failed = made.is_err();
                    if done.send(made).is_err() || failed {
                        break;
                    }
                }
            }
        });
        Ok(Self { wanted, made, maker: Some(maker), stop })
    }

    /// Waits for all of them, each a step.
    pub(super) fn finish(self, place: &Place) -> Outcome<()> {
        for environment in &self.wanted {
            let mut step = Step::begin(environment.title);
            let log = step::log(place, environment.title)?;
            let note = step.wait_for(&log, || match self.made.try_recv() {
                Ok(made) => Some(made),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err(Failure::Told("its thread broke down".into()))),
            })?;
            step.passed(note);
        }
        Ok(())
    }
}

impl Drop for Environments {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic in it has been printed.
        let _ = self.maker.take().map(JoinHandle::join);
    }
}

/// Makes one environment if need be; answers what was done.
fn make(place: &Place, environment: &Environment, version: &str, stop: &AtomicBool) -> Outcome<&'static str> {
    let file = place.root.join(environment.requirements);
    let pins = fs::read_to_string(&file).map_err(cannot("read", &file))?;
    let stamp = Stamp::over_text(place, environment.folder, format!("{version}\n{pins}"))?;
    let venv = place.venv(environment);
    let pip = venv.join("bin/python");
    if stamp.is_fresh() && pip.exists() {
        return Ok("");
    }

    let unless_stopped = || if stop.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) };
    let run = |command, advice| Logged::new(place, environment.title, command)?.must(advice, unless_stopped);
    if venv.exists() {
        fs::remove_dir_all(&venv).map_err(cannot("remove", &venv))?;
    }
    let mut create = place.command(python());
    create.args(["-m", "venv"]).arg(&venv);
    let advice =
        "Python can't make virtual environments here. On Debian and Ubuntu: apt install python3-venv";
    if let Err(failure) = run(create, advice) {
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
    run(install, advice)?;
    stamp.write()?;
    Ok("installed")
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
