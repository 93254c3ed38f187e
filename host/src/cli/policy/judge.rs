//! `keybearer policy explain` and `keybearer policy replay`.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use crate::cli::Done;
use crate::cli::out::Out;
use crate::clock::{Clock as _, SystemClock};
use crate::policy::{Door, Enforced, Facts, Judged, Policy};

pub(super) fn explain(request: &Path, policy: &Policy, out: &Out) -> anyhow::Result<Done> {
    let shown = request.display();
    let text = std::fs::read_to_string(request).with_context(|| shown.to_string())?;
    let facts: Facts = toml::from_str(&text).with_context(|| shown.to_string())?;
    let judged =
        policy.judge(&facts, SystemClock.now()).map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
    out.line(words(judged.verdict));
    for id in &judged.policies {
        let text = policy.text(&facts.realm(), id).unwrap_or_default();
        out.line(format!("\ndecided by {id}:\n{text}"));
    }
    if let Some(cause) = &judged.cause {
        out.line(format!("\n{cause}"));
    }
    out.value(&json!({
        "verdict": words(judged.verdict), "policies": judged.policies, "cause": judged.cause,
    }));
    Ok(Done::Well)
}

/// An answer that would be another.
struct Changed {
    facts: Facts,
    asked_for: String,
    was: Judged,
    is: Judged,
}

/// Puts each request to both, and the call that it came from. Differences are no failure: the operator reads them and
/// decides.
pub(super) fn replay(facts: &Path, live: &Policy, candidate: &Policy, out: &Out) -> anyhow::Result<Done> {
    let from: Box<dyn Read> = if facts.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(facts).with_context(|| facts.display().to_string())?)
    };
    let now = SystemClock.now();
    let (mut asked, mut calls, mut changed, mut lost) = (0_u64, 0_u64, Vec::new(), 0_u64);
    for (index, line) in BufReader::new(from).lines().enumerate() {
        let line = line.with_context(|| facts.display().to_string())?;
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{}:{}", facts.display(), index + 1);
        let read: Facts = serde_json::from_str(&line).with_context(place)?;
        asked += 1;
        let call = live.judge_call(&read, now).zip(candidate.judge_call(&read, now));
        calls += u64::from(call.is_some());
        let call = call.map(|answers| (call_of(&read), answers));
        let request = (subject(&read), (live.judge(&read, now), candidate.judge(&read, now)));
        for (asked_for, answers) in call.into_iter().chain([request]) {
            match answers {
                (Ok(was), Ok(is)) if was.verdict == is.verdict => {}
                (Ok(was), Ok(is)) => changed.push(Changed { facts: read.clone(), asked_for, was, is }),
                (Err(error), _) | (_, Err(error)) => {
                    lost += 1;
                    out.note(format!("{}: {asked_for} can't be asked again: {error}", place()));
                }
            }
        }
    }
    anyhow::ensure!(asked > 0, "{}: there is no request in it, so nothing was asked", facts.display());
    let rows: Vec<_> = changed.iter().map(row).collect();
    out.table(&["AT", "AGENT", "ASKED FOR", "WAS", "WOULD BE", "BECAUSE OF"], &rows);
    out.line(format!(
        "{asked} requests, and the calls that {calls} of them came from: {} would be decided otherwise, {lost} can't \
         be asked again",
        rows.len()
    ));
    let values: Vec<_> = changed
        .iter()
        .map(|Changed { facts, asked_for, was, is }| {
            json!({
                "facts": facts, "asked_for": asked_for, "was": words(was.verdict),
                "would_be": words(is.verdict), "cause": is.cause,
            })
        })
        .collect();
    out.value(&json!({ "requests": asked, "calls": calls, "changed": values, "lost": lost }));
    Ok(Done::Well)
}

/// What facts are about.
fn subject(facts: &Facts) -> String {
    let subject = [&facts.operation, &facts.api, &facts.approve];
    let subject = subject.into_iter().flatten().next().cloned();
    let tool = facts.call.as_ref().or(facts.code.as_ref());
    subject.or_else(|| tool.map(ToString::to_string)).unwrap_or_default()
}

/// The call that a request came from, as its action is called.
fn call_of(facts: &Facts) -> String {
    match (facts.door, &facts.tool) {
        (Door::Tool, Some(tool)) => format!("call:{tool}"),
        _ => "run_code".to_owned(),
    }
}

fn row(Changed { facts, asked_for, was, is }: &Changed) -> Vec<String> {
    let policies = if is.policies.is_empty() { &was.policies } else { &is.policies };
    vec![
        facts.now.map(|now| now.to_string()).unwrap_or_default(),
        format!("{}/{}", facts.tenant, facts.agent),
        asked_for.clone(),
        words(was.verdict),
        words(is.verdict),
        policies.join(", "),
    ]
}

/// `allowed`, `denied`, or `approval_required N`.
pub(super) fn words(verdict: Enforced) -> String {
    match verdict {
        Enforced::Allowed => "allowed".to_owned(),
        Enforced::Denied => "denied".to_owned(),
        Enforced::ApprovalRequired { quorum } => format!("approval_required {quorum}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::World;

    #[test]
    fn where_nothing_was_asked_there_is_no_answer() {
        let policy = Policy::of(&[], &[], World::of(Arc::default(), [])).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "\n\n"] {
            std::fs::write(file.path(), text).unwrap();
            let error = replay(file.path(), &policy, &policy, &Out::new(false)).unwrap_err().to_string();
            assert!(error.contains("there is no request in it"), "{error}");
        }
    }
}
