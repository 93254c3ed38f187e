//! Every file and every test that `docs/THREATS.md` names is there.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/THREATS.md");

#[test]
fn what_the_page_names_is_there() {
    let (mut usual, mut tests, mut missing) = ("", 0, Vec::new());
    for (number, line) in (1..).zip(PAGE.lines()) {
        if line.starts_with("## ") {
            usual = "";
        }
        if let Some((_, rest)) = line.split_once("ests are in `") {
            usual = rest.split('`').next().unwrap();
        }
        let mut file = find("", usual);
        for quoted in line.split('`').skip(1).step_by(2) {
            let (named, test) = quoted.split_once("::").unwrap_or((quoted, ""));
            if is_file(named) {
                file = find(usual, named);
            } else if !named.is_empty() {
                continue;
            }
            tests += u32::from(!test.is_empty());
            if !file.as_deref().is_some_and(|file| test.is_empty() || defines(file, test)) {
                missing.push(format!("line {number}: {quoted}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(tests > 300, "{tests} tests: does the page name them in another way?");
}

fn is_file(text: &str) -> bool {
    let kind = Path::new(text).extension().and_then(OsStr::to_str);
    matches!(kind, Some("rs" | "py" | "toml" | "md"))
}

/// A file: below the folder that the section's tests usually are in, below the host's sources, or from the root on.
fn find(usual: &str, named: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = root.join("host/src");
    [sources.join(usual), root.join(usual), sources, root.to_owned()]
        .into_iter()
        .map(|folder| folder.join(named))
        .find(|file| file.is_file())
}

fn defines(file: &Path, test: &str) -> bool {
    let text = fs::read_to_string(file).unwrap();
    ["fn", "def"].iter().any(|word| text.contains(&format!("{word} {test}(")))
}
