//! The component that runs Python, made as an operator makes it: by `keybearer sandbox build`.

use std::path::PathBuf;

use super::stamp::Stamp;
use crate::failure::Outcome;
use crate::place::Place;
use crate::step::Step;

/// Makes the component and says where it is.
pub(super) fn build(place: &Place) -> Outcome<PathBuf> {
    let mut step = Step::begin("component: Python sandbox");
    let component = place.folder("sandbox")?.join("python.wasm");
    let stamp = Stamp::over_files(place, "sandbox", &sources(place))?;
    if stamp.is_fresh() && component.is_file() {
        step.passed("");
        return Ok(component);
    }
    let mut build = place.host()?;
    build.args(["sandbox", "build", "--output"]).arg(&component);
    step.must(place, build, "The message above says what to do.")?;
    stamp.write()?;
    step.passed("built");
    Ok(component)
}

/// What the component depends on. The program that builds it changes with every change of the host: of it, only the
/// part that builds.
fn sources(place: &Place) -> [PathBuf; 7] {
    let inside = |path: &str| place.root.join(path);
    [
        inside("tools/python/app.py"),
        inside("tools/python/keybearer.py"),
        inside("tools/python/keybearer_sandbox"),
        inside("tools/python/requirements.txt"),
        inside("tools/python/packages.txt"),
        inside("wit"),
        inside("host/src/build/sandbox"),
    ]
}
