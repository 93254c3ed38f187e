//! `keybearer policy test`: tables of requests and verdicts. What is no question fails its case, whatever that expects.
//!
//! ```toml
//! [request]                       # what all cases have, unless they say otherwise
//! tenant = "acme"
//! agent = "billing"
//!
//! [[case]]
//! name = "a small charge"
//! operation = "stripe:create_charge"
//! body = { amount = 500, currency = "usd" }
//! expect = "allowed"              # denied, approval_required, approval_required N
//! by = ["what-tokens-grant"]      # the policies that decide; left out: any
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::judge::words;
use crate::cli::Done;
use crate::cli::out::Out;
use crate::clock::{Clock as _, Millis, SystemClock};
use crate::policy::{Facts, Policy};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    request: Map<String, Value>,
    #[serde(default)]
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    expect: String,
    #[serde(default)]
    by: Option<Vec<String>>,
    #[serde(flatten)]
    request: Map<String, Value>,
}

pub(super) fn test(files: &[PathBuf], policy: &Policy, out: &Out) -> anyhow::Result<Done> {
    let (mut passed, mut failures) = (0_u64, Vec::new());
    for file in files {
        for (name, failure) in run(file, policy)? {
            match failure {
                None => passed += 1,
                Some(failure) => failures.push(format!("{}: {name}\n  {failure}", file.display())),
            }
        }
    }
    for failure in &failures {
        out.line(format!("FAILED {failure}"));
    }
    out.line(format!("{passed} passed, {} failed", failures.len()));
    out.value(&json!({ "passed": passed, "failures": failures }));
    Ok(if failures.is_empty() { Done::Well } else { Done::Problems })
}

/// Every case of a file, with what is wrong with it.
fn run(file: &Path, policy: &Policy) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| shown.to_string())?;
    let table: Table = toml::from_str(&text).with_context(|| shown.to_string())?;
    if table.case.is_empty() {
        bail!("{shown} has no [[case]]: a table that tests nothing would always pass");
    }
    let now = SystemClock.now();
    let one = |case: Case| {
        let failure = judge(&table.request, &case, policy, now).err();
        (case.name, failure)
    };
    Ok(table.case.into_iter().map(one).collect())
}

fn judge(common: &Map<String, Value>, case: &Case, policy: &Policy, now: Millis) -> Result<(), String> {
    let mut request = common.clone();
    request.extend(case.request.clone());
    let facts: Facts = serde_json::from_value(Value::Object(request)).map_err(|error| error.to_string())?;
    let judged = policy.judge(&facts, now)?;
    let verdict = words(judged.verdict);
    // `approval_required` alone stands for any number of people.
    let fits = verdict == case.expect
        || (case.expect == "approval_required" && verdict.starts_with("approval_required "));
    let cause = judged.cause.map(|cause| format!("\n  {cause}")).unwrap_or_default();
    if !fits {
        let by = if judged.policies.is_empty() {
            String::new()
        } else {
            format!(" by {}", judged.policies.join(", "))
        };
        return Err(format!("expected {}, got {verdict}{by}{cause}", case.expect));
    }
    match &case.by {
        Some(by) if *by != judged.policies => {
            Err(format!("{verdict}, but by {:?} rather than {by:?}{cause}", judged.policies))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::connection::Connections;
    use crate::policy::{PolicyFile, World};

    /// The examples' tables, as CI runs them: over their policies and connection, with no tool known.
    #[test]
    fn the_tables_of_the_examples_hold() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let connections = Arc::new(Connections::load(&examples.join("connections")).unwrap());
        for (situation, cases) in [("billing-agent", 9), ("group-chat", 6), ("retry-storm", 4)] {
            let folder = examples.join("governance").join(situation);
            let files = PolicyFile::read_all(&folder.join("policies")).unwrap();
            let policy = Policy::of(&files, &[], World::of(connections.clone(), [])).unwrap();
            let said = run(&folder.join("verdicts.toml"), &policy).unwrap();
            assert_eq!(said.len(), cases, "{situation}");
            let failed: Vec<_> = said.iter().filter(|(_, failure)| failure.is_some()).collect();
            assert!(failed.is_empty(), "{situation}: {failed:?}");
        }
    }

    #[test]
    fn a_body_may_be_json_text_so_that_a_null_can_be_asked_about() {
        const CRM: &str = r#"
            base_url = "https://api.example.com"
            secret = "key"
            attach = { kind = "bearer" }
            [operations.update]
            request = "PATCH /v1/accounts"
            effect = "write"
            content_type = "application/json"
            body.owner = { type = "string", optional = true }
            body.limit = { type = "integer", minimum = 0, optional = true, nullable = true }
        "#;
        let connections = Arc::new(Connections::parse(&[("crm.toml", CRM)]).unwrap());
        let rules = "permit (principal, action, resource);
                     @id(\"limits-stay\") forbid (principal, action == Action::\"crm:update\", resource)
                     when { context.nulls.contains(\"limit\") };";
        let files = [PolicyFile::new("p.cedar", rules)];
        let policy = Policy::of(&files, &[], World::of(connections, [])).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let failure = |body: &str, expect: &str| {
            let case = format!(
                "[[case]]\nname = 'a'\nagent = 'bot'\noperation = 'crm:update'\nbody = {body}\n{expect}\n"
            );
            std::fs::write(file.path(), case).unwrap();
            run(file.path(), &policy).unwrap().into_iter().find_map(|(_, failure)| failure)
        };
        let (allowed, denied) = ("expect = 'allowed'", "expect = 'denied'\nby = ['limits-stay']");
        for (body, expect) in [
            (r#"'{ "owner": "a", "limit": null }'"#, denied),
            (r#"'{ "owner": "a", "limit": 7 }'"#, allowed),
            ("{ owner = 'a', limit = 7 }", allowed),
            ("'{}'", allowed),
        ] {
            assert_eq!(failure(body, expect), None, "{body}");
        }
        for (body, said) in [
            (
                "'{ \"limit\": '",
                "`body`: a string here is the text of a JSON object, and it is not valid JSON",
            ),
            (r#"'{ "limit": 1, "limit": null }'"#, "appears twice"),
            ("'[]'", "`body` is no object"),
            ("[1]", "`body` is no object"),
            ("1", "`body` is no object"),
        ] {
            for expect in [allowed, denied] {
                let failure = failure(body, expect);
                assert!(
                    failure.as_ref().is_some_and(|failure| failure.contains(said)),
                    "{body}: {failure:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_question_fails_its_case_whatever_that_expects() {
        let permit = PolicyFile::new("p.cedar", "permit (principal, action, resource);");
        let policy = Policy::of(&[permit], &[], World::of(Arc::default(), [])).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        for (asked, said) in [
            ("call = 'create_charge'", "there is no tool create_charge here"),
            ("code = 'nosuch'\nbytes = 1", "nosuch is no sandbox's tool"),
            ("api = 'http://x/y'\naction = 'read'", "is no resource"),
            ("api = 'api://x'\naction = 'read'\nbody = { a = 1 }", "`body` goes with `operation`"),
        ] {
            for expect in ["allowed", "denied"] {
                let case = format!("[[case]]\nname = 'a'\nagent = 'bot'\n{asked}\nexpect = '{expect}'\n");
                std::fs::write(file.path(), case).unwrap();
                let failures = run(file.path(), &policy).unwrap();
                let failure = failures.first().and_then(|(_, failure)| failure.as_deref());
                assert!(failure.is_some_and(|failure| failure.contains(said)), "{asked}: {failure:?}");
            }
        }
    }
}
