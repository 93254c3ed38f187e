//! Texts → rules: parsed, named, checked strictly against the schema.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Policy as Cedar, PolicyId as CedarId, PolicySet, Schema, ValidationMode, Validator};

use super::problem::{PolicyProblem, PolicyProblems};
use super::rule::Rule;

/// The text that `keybearer init` writes into `policies/start.cedar`.
pub const START: &str = include_str!("start.cedar");

/// The most bytes of one file or posted policy: three hundred pages of text.
pub const POLICY_FILE_BYTES_MAX: usize = 1024 * 1024;

/// The most policies of all files together, and of what is posted for one environment, or for a tenant as a whole.
pub const POLICIES_MAX: usize = 10_000;

/// The most words and signs of one policy, its strings and commas not counted. The checker and the evaluator recurse
/// over a policy; this bounds how deep, and a list of ten thousand customers is still one sign.
const SIGNS_MAX: usize = 2_000;

/// The stack of the thread that reads policies, in bytes.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// A text that holds policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// The file's name, or a posted policy's id; what problems are reported under.
    pub name: String,
    /// The text.
    pub text: String,
}

impl PolicyFile {
    /// A text under a name.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Every `*.cedar` of a folder, by name. A folder that doesn't exist holds none.
    ///
    /// # Errors
    /// Every file that can't be read.
    pub fn read_all(dir: &Path) -> Result<Vec<Self>, PolicyProblems> {
        let failed = |file: &Path, message: String| PolicyProblem::of(&file.display().to_string(), message);
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(PolicyProblems(vec![failed(dir, format!("can't be read: {error}"))]));
            }
        };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "cedar"));
        paths.sort();
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match fs::metadata(&path).and_then(|found| match found.len() > POLICY_FILE_BYTES_MAX as u64 {
                true => Err(std::io::Error::other(too_large())),
                false => fs::read_to_string(&path),
            }) {
                Ok(text) => files.push(Self { name, text }),
                Err(error) => problems.push(PolicyProblem::of(&name, format!("can't be read: {error}"))),
            }
        }
        if problems.is_empty() { Ok(files) } else { Err(PolicyProblems(problems)) }
    }

    fn stem(&self) -> &str {
        self.name.strip_suffix(".cedar").unwrap_or(&self.name)
    }
}

/// Whether a text's policies may name themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// `@id("…")`, else the file's stem and a number.
    Annotated,
    /// The text's name and a number: whoever posted it doesn't choose ids that others might have.
    Numbered,
}

/// What came of reading texts.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) rules: Vec<Rule>,
    pub(super) problems: Vec<PolicyProblem>,
    /// What is suspicious but allowed: a policy that can never apply, for example.
    pub(super) warnings: Vec<PolicyProblem>,
}

/// Reads texts against a schema.
///
/// INVARIANT (whole): when there are problems, the rules are those of no complete set, and nobody uses them.
pub(super) fn load(files: &[PolicyFile], naming: Naming, schema: &Schema) -> Loaded {
    let schema = schema.clone();
    // The parser and the checker recurse: on a stack that is surely large enough, whoever calls.
    std::thread::scope(|scope| {
        let reading = std::thread::Builder::new()
            .name("policies".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, move || load_here(files, naming, schema));
        let broke = |message: &str| Loaded {
            problems: vec![PolicyProblem::of("policies", message.to_owned())],
            ..Loaded::default()
        };
        match reading.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => broke("reading the policies broke down"),
            Err(error) => broke(&format!("no thread can be started to read the policies: {error}")),
        }
    })
}

fn load_here(files: &[PolicyFile], naming: Naming, schema: Schema) -> Loaded {
    let validator = Validator::new(schema);
    let (mut loaded, mut names) = (Loaded::default(), BTreeMap::new());
    for file in files {
        let policies = match parse(file) {
            Ok(policies) => policies,
            Err(problems) => {
                loaded.problems.extend(problems);
                continue;
            }
        };
        let mut set = PolicySet::new();
        for (index, policy) in policies.into_iter().enumerate() {
            match name(file, index, &policy, naming).and_then(|id| unused(&mut names, file, id)) {
                // Ids are unique by now, so the set takes each.
                Ok(id) => drop(set.add(policy.new_id(CedarId::new(&id)))),
                Err(problem) => loaded.problems.push(problem),
            }
        }
        let result = validator.validate(&set, ValidationMode::Strict);
        let of = |error: DetailedError| problem(file, error);
        loaded.problems.extend(result.validation_errors().map(|error| of(error.into())));
        loaded.warnings.extend(result.validation_warnings().map(|warning| of(warning.into())));
        loaded.rules.extend(set.policies().cloned().map(Rule::new));
    }
    if loaded.rules.len() > POLICIES_MAX {
        let message = format!("there are more than {POLICIES_MAX} policies");
        loaded.problems.push(PolicyProblem::of("policies", message));
    }
    loaded
}

fn parse(file: &PolicyFile) -> Result<Vec<Cedar>, Vec<PolicyProblem>> {
    let one = |message: String| vec![PolicyProblem::of(&file.name, message)];
    if file.text.len() > POLICY_FILE_BYTES_MAX {
        return Err(one(too_large()));
    }
    if let Some(offset) = too_long(&file.text) {
        let message = format!("a policy has more than {SIGNS_MAX} words and signs: split it up");
        return Err(vec![PolicyProblem {
            place: Some(place(&file.text, offset)),
            ..PolicyProblem::of(&file.name, message)
        }]);
    }
    let set: PolicySet = file.text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        errors.iter().map(|error| problem(file, error.into())).collect::<Vec<_>>()
    })?;
    if set.templates().next().is_some() {
        return Err(one("templates (?principal, ?resource) can't be used; write the policy out".to_owned()));
    }
    Ok(set.policies().cloned().collect())
}

/// Where a policy gets too long, if one does. Policies end with `;`, which occurs nowhere else but in strings and
/// comments.
fn too_long(text: &str) -> Option<usize> {
    let (mut signs, mut in_word) = (0_usize, false);
    let mut chars = text.char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        let word = c.is_alphanumeric() || c == '_';
        match c {
            '"' => {
                while let Some((_, c)) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                while chars.next_if(|(_, c)| *c != '\n').is_some() {}
            }
            ';' => signs = 0,
            ',' => {}
            c if c.is_whitespace() => {}
            _ if word && in_word => {}
            _ => signs += 1,
        }
        in_word = word;
        if signs > SIGNS_MAX {
            return Some(offset);
        }
    }
    None
}

fn name(file: &PolicyFile, index: usize, policy: &Cedar, naming: Naming) -> Result<String, PolicyProblem> {
    let annotated = policy.annotation("id").filter(|_| naming == Naming::Annotated);
    let Some(id) = annotated else { return Ok(format!("{}#{}", file.stem(), index + 1)) };
    if (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(id.to_owned());
    }
    let shown: String = id.chars().take(80).collect();
    let message = format!("the id {shown:?} can't be used: write 1 to 128 ASCII letters, digits and signs");
    Err(PolicyProblem::of(&file.name, message))
}

fn unused(
    names: &mut BTreeMap<String, String>,
    file: &PolicyFile,
    id: String,
) -> Result<String, PolicyProblem> {
    match names.insert(id.clone(), file.name.clone()) {
        None => Ok(id),
        Some(other) => Err(PolicyProblem {
            hint: Some("give each policy its own @id".to_owned()),
            ..PolicyProblem::of(&file.name, format!("the id {id:?} is taken by another policy in {other}"))
        }),
    }
}

/// An error of Cedar's, with its place and help.
fn problem(file: &PolicyFile, error: DetailedError) -> PolicyProblem {
    let offset = error.source_locations.first().map(|label| label.loc.start);
    // The checker opens with the policy's id, which the place says better.
    let message = match error.message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, message)) => message.to_owned(),
        None => error.message,
    };
    PolicyProblem {
        file: file.name.clone(),
        place: offset.map(|offset| place(&file.text, offset)),
        message,
        hint: error.help,
    }
}

/// Line and column of a byte, both from 1; a column counts characters.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn too_large() -> String {
    format!("it is larger than {POLICY_FILE_BYTES_MAX} bytes")
}
