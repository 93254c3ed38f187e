//! The sections → actors, budgets and rows.

use std::time::Duration;

use super::table::{Cells, Section};

/// A door that a row is put to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Tool,
    /// The same tool, called over the Model Context Protocol: wherever a row says `tool`.
    Mcp,
    /// Code that sends the request.
    Code,
    /// The same code, run by calling the sandbox's tool.
    CodeTool,
    /// That over the Model Context Protocol.
    CodeMcp,
    Proxy,
    Enforce,
    /// Any other route of the host's, as `POST /v1/tokens {…}`.
    Http,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It reaches the upstream.
    Allow,
    /// It gets what the same write got before; nothing reaches the upstream.
    Repeat,
    /// A code, and nothing reaches the upstream.
    Deny(String),
    /// So many of those at once are let through; the others get the code.
    Some(usize, String),
}

/// One case.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) who: String,
    pub(super) asks: String,
    /// Names of policies and budgets that are in force besides the basic ones.
    pub(super) rules: Vec<String>,
    /// What happened before.
    pub(super) before: Vec<String>,
    pub(super) verdict: Verdict,
    pub(super) doors: Vec<Way>,
    pub(super) peer: Option<String>,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) agent: String,
    pub(super) role: Option<String>,
    pub(super) tenant: String,
    pub(super) environment: String,
    pub(super) conversation: Option<String>,
    pub(super) task: Option<String>,
    /// Operations; `delegate`; `no-tools`; `user:NAME`, whom the token is bound to.
    pub(super) may: Vec<String>,
    pub(super) budgets: Vec<String>,
    pub(super) from: Option<From>,
    pub(super) lifetime: Duration,
}

/// The actor whose token another's was delegated from.
#[derive(Debug, Clone)]
pub(super) struct From {
    pub(super) name: String,
    /// Put into the store as no door would have minted it.
    pub(super) forged: bool,
}

/// The whole file.
#[derive(Debug)]
pub(super) struct Corpus {
    pub(super) actors: Vec<Actor>,
    /// Name → the text of one budget in `budgets.toml`.
    pub(super) budgets: Vec<(String, String)>,
    pub(super) rows: Vec<Row>,
}

impl Row {
    /// What its id begins with: its section's letter.
    pub(super) fn letter(&self) -> char {
        self.id.chars().next().unwrap()
    }
}

impl Corpus {
    pub(super) fn of(sections: Vec<Section>) -> Self {
        let mut corpus = Self { actors: Vec::new(), budgets: Vec::new(), rows: Vec::new() };
        for section in sections {
            match section.title.as_str() {
                "Actors" => corpus.actors = section.rows.iter().map(actor).collect(),
                "The operator's budgets" => corpus.budgets = section.rows.iter().map(budget).collect(),
                _ => corpus.rows.extend(section.rows.iter().map(|cells| row(cells, &section.doors))),
            }
        }
        corpus
    }
}

fn must(cells: &Cells, column: &str) -> String {
    cells.get(column).unwrap_or_else(|| panic!("{column} is missing in {cells:?}")).clone()
}

fn list(cells: &Cells, column: &str, separator: char) -> Vec<String> {
    let cell = cells.get(column).map_or("", String::as_str);
    cell.split(separator).map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn row(cells: &Cells, doors: &[String]) -> Row {
    const COLUMNS: [&str; 8] = ["id", "who", "asks", "rules", "before", "verdict", "doors", "peer"];
    for column in cells.keys() {
        assert!(COLUMNS.contains(&column.as_str()), "an unknown column {column:?}");
    }
    let verdict = must(cells, "verdict");
    let words: Vec<_> = verdict.split(' ').collect();
    let verdict = match words[..] {
        ["allow"] => Verdict::Allow,
        ["repeat"] => Verdict::Repeat,
        ["approval"] => Verdict::Deny("approval_required".to_owned()),
        ["deny", code] => Verdict::Deny(code.to_owned()),
        [some, "allowed,", "then", code] => Verdict::Some(some.parse().unwrap(), code.to_owned()),
        _ => panic!("no verdict: {verdict:?}"),
    };
    let mut ways = list(cells, "doors", ',');
    if ways.is_empty() {
        ways = doors.to_vec();
    }
    let way = |name: &String| match name.as_str() {
        "tool" => vec![Way::Tool, Way::Mcp],
        "code" => vec![Way::Code],
        "run_python" => vec![Way::CodeTool, Way::CodeMcp],
        "proxy" => vec![Way::Proxy],
        "enforce" => vec![Way::Enforce],
        "http" => vec![Way::Http],
        other => panic!("no door: {other:?}"),
    };
    Row {
        id: must(cells, "id"),
        who: must(cells, "who"),
        asks: must(cells, "asks"),
        rules: list(cells, "rules", ','),
        before: list(cells, "before", ';'),
        verdict,
        doors: ways.iter().flat_map(way).collect(),
        peer: cells.get("peer").cloned(),
    }
}

fn actor(cells: &Cells) -> Actor {
    let realm = must(cells, "realm");
    let (tenant, environment) = realm.split_once('/').unwrap();
    let from = cells.get("from").map(|from| match from.strip_prefix("forged ") {
        Some(name) => From { name: name.to_owned(), forged: true },
        None => From { name: from.clone(), forged: false },
    });
    let days = cells.get("days").map_or(40, |days| days.parse().unwrap());
    Actor {
        name: must(cells, "name"),
        agent: must(cells, "agent"),
        role: cells.get("role").cloned(),
        tenant: tenant.to_owned(),
        environment: environment.to_owned(),
        conversation: cells.get("conversation").cloned(),
        task: cells.get("task").cloned(),
        may: list(cells, "may", ' '),
        budgets: list(cells, "budgets", ','),
        from,
        lifetime: Duration::from_secs(days * 86_400),
    }
}

/// `50000 usd day effect=write` of `each agent` → an entry of `budgets.toml`.
fn budget(cells: &Cells) -> (String, String) {
    let limit = must(cells, "limit");
    let words: Vec<_> = limit.split(' ').collect();
    let mut text = format!(
        "[[budget]]\nsubject = {:?}\nlimit = {}\nunit = {:?}\nwindow = {:?}\n",
        must(cells, "whose"),
        words[0],
        words[1],
        words[2]
    );
    for word in &words[3..] {
        let (key, value) = word.split_once('=').unwrap();
        text.push_str(&format!("{key} = {value:?}\n"));
    }
    (must(cells, "name"), text)
}
