//! `keybearer audit`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Done;
use super::context::Opened;
use super::out::Out;
use crate::audit::{self, Audit as Trail, Event, Row, SendBegun, SendRefused, export};
use crate::ids::{CallId, TenantId};
use crate::pipeline::question_of;
use crate::reach::Reach;
use crate::store::RowFilter;

/// How many rows are read at once.
const PAGE_ROWS: u32 = 1_024;

/// Commands on the audit trail.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Audit {
    /// List the newest rows, oldest of them first.
    List {
        /// At most so many rows.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Rows of this tenant only.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Rows before this number only.
        #[arg(long, value_name = "SEQ")]
        before: Option<u64>,
    },
    /// Show everything that is recorded of one call.
    Show {
        /// The call's id (`call_…`).
        call: CallId,
    },
    /// Print what the policies were asked, one JSON object a line: for `policy replay -`. It holds requests' parameters.
    Questions {
        /// Of this tenant only.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Walk the whole chain of hashes and say whether it holds.
    Verify {
        /// Also check that the trail still holds this row, as `SEQ:HASH` from an earlier `audit verify`: a trail that
        /// was cut short is seen this way.
        #[arg(long, value_name = "SEQ:HASH")]
        holds: Option<audit::Head>,
    },
}

impl Audit {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let trail = Trail::start(opened.audit_store()?, opened.clock.clone())?;
        match self {
            Self::List { limit, tenant, before } => {
                let reach = tenant.map(Reach::every);
                let filter = RowFilter { reach, before, limit, newest_first: true, ..RowFilter::default() };
                let mut rows = trail.rows(&filter)?;
                rows.reverse();
                print(out, &rows);
                Ok(Done::Well)
            }
            Self::Show { call } => {
                let filter = RowFilter { call: Some(call.clone()), limit: 10_000, ..RowFilter::default() };
                let rows = trail.rows(&filter)?;
                if rows.is_empty() {
                    bail!("nothing is recorded of {call}");
                }
                print(out, &rows);
                Ok(Done::Well)
            }
            Self::Questions { tenant } => questions(&opened, &trail, out, tenant.as_ref()),
            Self::Verify { holds } => verify(&trail, out, holds.as_ref()),
        }
    }
}

/// All of them, oldest first. They go to standard output as they are, with `--json` or without.
fn questions(opened: &Opened, trail: &Trail, out: &Out, tenant: Option<&TenantId>) -> anyhow::Result<Done> {
    let (vault, mut from, mut printed) = (opened.vault()?, 1, 0_u64);
    let mut to = std::io::stdout().lock();
    loop {
        let reach = tenant.cloned().map(Reach::every);
        let filter = RowFilter { reach, from: Some(from), limit: PAGE_ROWS, ..RowFilter::default() };
        let rows = trail.rows(&filter)?;
        let Some(last) = rows.last() else { break };
        from = last.seq.saturating_add(1);
        for row in rows {
            let (Event::SendBegun(SendBegun { question: Some(sealed), .. })
            | Event::SendRefused(SendRefused { question: Some(sealed), .. })) = &row.event
            else {
                continue;
            };
            let (Some(realm), Some(call)) = (&row.realm, &row.call) else { continue };
            let sealed = hex::decode(sealed).with_context(|| format!("audit row {}", row.seq))?;
            let opened = vault.open_note(realm, &question_of(call), &sealed);
            let text = opened.with_context(|| format!("audit row {}", row.seq))?;
            to.write_all(&text)?;
            to.write_all(b"\n")?;
            printed += 1;
        }
    }
    if printed == 0 {
        out.note("no question is kept: set [audit] keep_questions = true in keybearer.toml");
    }
    Ok(Done::Well)
}

fn verify(trail: &Trail, out: &Out, holds: Option<&audit::Head>) -> anyhow::Result<Done> {
    match trail.verify(holds) {
        Ok(verified) => {
            out.line(format!(
                "{} rows, the chain holds; keep this to see a later cut: {}",
                verified.head.seq, verified.head
            ));
            out.value(
                &json!({ "holds": true, "rows": verified.head.seq, "last": verified.head.to_string() }),
            );
            Ok(Done::Well)
        }
        Err(audit::VerifyError::Store(error)) => Err(error.into()),
        Err(broken) => {
            out.line(format!("the chain is broken: {broken}"));
            out.value(&json!({ "holds": false, "problem": broken.to_string() }));
            Ok(Done::Problems)
        }
    }
}

fn print(out: &Out, rows: &[Row]) {
    for row in rows {
        out.line(export::line(row));
    }
    out.value(&rows);
}
