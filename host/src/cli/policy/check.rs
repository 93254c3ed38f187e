//! `keybearer policy check`.

use std::path::PathBuf;

use serde_json::json;

use super::SetArgs;
use crate::cli::Done;
use crate::cli::out::Out;

pub(super) fn check(set: &SetArgs, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
    match set.load(home, out)? {
        Ok(policy) => {
            for warning in policy.warnings() {
                out.line(format!("warning: {warning}"));
            }
            let (files, posted) = policy.count();
            let total = files + posted;
            let ending = if total == 0 { "everything is denied" } else { "all well" };
            let places = policy.posted_hashes();
            out.line(format!("{total} policies: {ending}\n{}", policy.hash()));
            for (place, hash) in &places {
                out.line(format!("{hash} with what is posted for {place}"));
            }
            let warnings: Vec<_> = policy.warnings().iter().map(ToString::to_string).collect();
            out.value(&json!({
                "problems": [], "warnings": warnings, "policies": total, "hash": policy.hash(),
                "posted": places,
            }));
            Ok(Done::Well)
        }
        Err(problems) => {
            out.line(problems.to_string());
            let listed: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
            out.value(&json!({ "problems": listed }));
            Ok(Done::Problems)
        }
    }
}
