//! Components, built as an author builds them: by `keybearer tool build`.

use std::path::{Path, PathBuf};

use super::stamp::Stamp;
use crate::failure::Outcome;
use crate::place::{Place, folders_with, name_of};
use crate::step::Step;

/// Builds the component of each crate below `parent`, with these flags, and says where they are.
pub(super) fn build(place: &Place, parent: &str, what: &str, flags: &[&str]) -> Outcome<Vec<PathBuf>> {
    let crates = folders_with(&place.root.join(parent), "Cargo.toml");
    let mut step = Step::begin(format!("components: {what}"));
    let folder = place.folder(&parent.replace('/', "-"))?;
    let mut components = Vec::new();
    let mut built = 0;
    for source in &crates {
        let name = name_of(source);
        let component = folder.join(format!("{name}.wasm"));
        let stamp = Stamp::over_files(place, &format!("component-{name}"), &sources(place, source))?;
        if !(stamp.is_fresh() && component.is_file()) {
            let mut build = place.host()?;
            build.args(["tool", "build", "--locked"]).args(flags).arg(source).arg("--out-dir").arg(&folder);
            step.must(place, build, "The message above says what's wrong with the tool.")?;
            stamp.write()?;
            built += 1;
        }
        components.push(component);
    }
    let note = match built {
        0 => String::new(),
        _ => format!("built {built} of {}", crates.len()),
    };
    step.passed(&note);
    Ok(components)
}

/// What a component depends on, the program that builds it included.
fn sources(place: &Place, source: &Path) -> [PathBuf; 4] {
    [source.to_owned(), place.root.join("guest-sdk"), place.root.join("wit"), place.built("keybearer")]
}
