//! `keybearer policy explain` and `keybearer policy replay`.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use crate::cli::Done;
use crate::cli::out::Out;
use crate::clock::{Clock as _, SystemClock};
use crate::policy::{Enforced, Facts, Judged, Policy};

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

/// Differences are no failure: the operator reads them and decides.
pub(super) fn replay(facts: &Path, live: &Policy, candidate: &Policy, out: &Out) -> anyhow::Result<Done> {
    let from: Box<dyn Read> = if facts.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(facts).with_context(|| facts.display().to_string())?)
    };
    let now = SystemClock.now();
    let (mut asked, mut changed, mut lost) = (0_u64, Vec::new(), 0_u64);
    for (index, line) in BufReader::new(from).lines().enumerate() {
        let line = line.with_context(|| facts.display().to_string())?;
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{}:{}", facts.display(), index + 1);
        let read: Facts = serde_json::from_str(&line).with_context(place)?;
        asked += 1;
        match (live.judge(&read, now), candidate.judge(&read, now)) {
            (Ok(was), Ok(is)) if was.verdict == is.verdict => {}
            (Ok(was), Ok(is)) => changed.push((read, was, is)),
            (Err(error), _) | (_, Err(error)) => {
                lost += 1;
                out.note(format!("{}: can't be asked again: {error}", place()));
            }
        }
    }
    let rows: Vec<_> = changed.iter().map(row).collect();
    out.table(&["AT", "AGENT", "ASKED FOR", "WAS", "WOULD BE", "BECAUSE OF"], &rows);
    out.line(format!(
        "{asked} requests, {} would be decided otherwise, {lost} can't be asked again",
        rows.len()
    ));
    let values: Vec<_> = changed
        .iter()
        .map(|(facts, was, is)| {
            json!({ "facts": facts, "was": words(was.verdict), "would_be": words(is.verdict), "cause": is.cause })
        })
        .collect();
    out.value(&json!({ "requests": asked, "changed": values, "lost": lost }));
    Ok(Done::Well)
}

fn row((facts, was, is): &(Facts, Judged, Judged)) -> Vec<String> {
    let subject = [&facts.operation, &facts.api, &facts.approve];
    let subject = subject.into_iter().flatten().next().cloned();
    let subject = subject.or_else(|| facts.call.as_ref().map(ToString::to_string)).unwrap_or_default();
    let policies = if is.policies.is_empty() { &was.policies } else { &is.policies };
    vec![
        facts.now.map(|now| now.to_string()).unwrap_or_default(),
        format!("{}/{}", facts.tenant, facts.agent),
        subject,
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
