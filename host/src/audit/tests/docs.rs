//! The operators' guide names every event, and every act that is recorded.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::*;

const GUIDE: &str = include_str!("../../../../docs/OPERATORS.md");

#[test]
fn every_event_is_in_the_guide() {
    let table = GUIDE.split("| event | holds |\n").nth(1).unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let told: BTreeSet<_> = rows.filter_map(|line| line.split('`').nth(1)).collect();
    // Which there are is in the words about one that there isn't.
    let error = serde_json::from_str::<Event>(r#"{"event": "none"}"#).unwrap_err().to_string();
    let known: BTreeSet<_> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(told, known);
}

#[test]
fn every_act_is_in_the_guide() {
    let row = GUIDE.lines().find(|line| line.starts_with("| `admin` |")).unwrap();
    let told: BTreeSet<_> = row.split('`').filter(|text| is_act(text)).map(str::to_owned).collect();
    let mut known = BTreeSet::new();
    for folder in ["audit", "cli", "doors", "fixture"] {
        add_acts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder), &mut known);
    }
    assert_eq!(told, known);
}

#[test]
fn what_a_call_s_rows_hold_is_in_the_guide() {
    let call = CallBegun {
        task: Some("collect".to_owned()),
        model_call: Some("toolu_01".parse().unwrap()),
        ..intent()
    };
    let send = SendBegun {
        user: Some("ann".parse().unwrap()),
        question: Some("00".to_owned()),
        key: Some("key".to_owned()),
        ..send_intent(1)
    };
    let finished = SendFinished {
        send: 1,
        status: None,
        failure: None,
        request_sent: RequestSent::No,
        secret_version: None,
        settlement: None,
        refunded: Some(crate::connection::Cost { amount_minor: 1, currency: "usd".to_owned() }),
        reply: None,
        reply_bytes: 0,
        took_ms: 0,
    };
    for event in [Event::CallBegun(call), Event::SendBegun(send), Event::SendFinished(finished)] {
        let written = serde_json::to_value(&event).unwrap();
        let name = written["event"].as_str().unwrap();
        let row = GUIDE.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        let told: BTreeSet<_> = row.split('`').skip(1).step_by(2).collect();
        for member in written.as_object().unwrap().keys().filter(|member| *member != "event") {
            assert!(told.contains(member.as_str()), "{name}: {member}");
        }
    }
}

/// Adds the acts that stand in quotes in the sources below a folder, tests aside.
fn add_acts(folder: &Path, acts: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem() == Some(OsStr::new("tests")) {
            continue;
        }
        if path.is_dir() {
            add_acts(&path, acts);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        acts.extend(text.split('"').filter(|text| is_act(text)).map(str::to_owned));
    }
}

/// `token.mint` is one; a file's name isn't.
fn is_act(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '_'))
    };
    let (of, act) = text.split_once('.').unwrap_or_default();
    is_word(of)
        && is_word(act)
        && !["cedar", "db", "db-shm", "db-wal", "html", "key", "pem", "rs", "toml", "wasm"].contains(&act)
}
