//! `keybearer audit`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Done;
use super::context::Opened;
use super::out::Out;
use crate::audit::{self, Audit as Trail, Event, Row, SendBegun, SendKnown, SendRefused, export};
use crate::ids::{CallId, TenantId};
use crate::pipeline::question_of;
use crate::reach::Reach;
use crate::store::sqlite::SqliteAudit;
use crate::store::{RowFilter, StoreError};

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
    /// Begin a new trail where audit.db is gone, or was put aside. What was spent, what is held and which writes were made
    /// is in that file too: all of it begins anew.
    New,
}

impl Audit {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let trail = || anyhow::Ok(Trail::start(opened.audit_store()?, opened.clock.clone())?);
        match self {
            Self::New => begin(&opened, out),
            Self::List { limit, tenant, before } => {
                let reach = tenant.map(Reach::every);
                let filter = RowFilter { reach, before, limit, newest_first: true, ..RowFilter::default() };
                let mut rows = trail()?.rows(&filter)?;
                rows.reverse();
                print(out, &rows);
                Ok(Done::Well)
            }
            Self::Show { call } => {
                let filter = RowFilter { call: Some(call.clone()), limit: u32::MAX, ..RowFilter::default() };
                let rows = trail()?.rows(&filter)?;
                if rows.is_empty() {
                    bail!("nothing is recorded of {call}");
                }
                print(out, &rows);
                Ok(Done::Well)
            }
            Self::Questions { tenant } => questions(&opened, &trail()?, out, tenant.as_ref()),
            Self::Verify { holds } => verify(&trail()?, out, holds.as_ref()),
        }
    }
}

/// A new trail, if there's none, whose first row says so.
fn begin(opened: &Opened, out: &Out) -> anyhow::Result<Done> {
    // A host would go on with the one that it has open.
    let _lock = opened.home.lock()?;
    let file = opened.home.audit_db();
    let log = file.with_extension("db-wal");
    let gone = matches!(SqliteAudit::existing(&file), Err(StoreError::Gone(_)));
    // It may hold the last rows of the trail that was put aside.
    if !gone || log.exists() {
        let there = if gone { log } else { file };
        bail!(
            "{} is there; nothing was changed. To begin a new trail, put audit.db, audit.db-wal and audit.db-shm aside \
             first, together",
            there.display()
        );
    }
    SqliteAudit::open(&file).context("can't make audit.db")?;
    opened.record(None, "audit.new", "audit.db")?;
    out.line("began a new trail: nothing is spent, nothing is held, and no write was made before");
    out.value(&json!({ "file": file }));
    Ok(Done::Well)
}

/// All of them, oldest first. They go to standard output as they are, with `--json` or without.
fn questions(opened: &Opened, trail: &Trail, out: &Out, tenant: Option<&TenantId>) -> anyhow::Result<Done> {
    let (vault, mut from, mut printed) = (opened.vault()?, 1, 0_u64);
    loop {
        let reach = tenant.cloned().map(Reach::every);
        let filter = RowFilter { reach, from: Some(from), limit: PAGE_ROWS, ..RowFilter::default() };
        let rows = trail.rows(&filter)?;
        let Some(last) = rows.last().filter(|_| out.written().is_ok()) else { break };
        from = last.seq.saturating_add(1);
        for row in rows {
            let (Event::SendBegun(SendBegun { question: Some(sealed), .. })
            | Event::SendRefused(SendRefused { known: SendKnown { question: Some(sealed), .. }, .. })) =
                &row.event
            else {
                continue;
            };
            let (Some(realm), Some(call)) = (&row.realm, &row.call) else { continue };
            let sealed = hex::decode(sealed).with_context(|| format!("audit row {}", row.seq))?;
            let opened = vault.open_note(realm, &question_of(call), &sealed);
            let text = opened.with_context(|| format!("audit row {}", row.seq))?;
            out.bytes(&text);
            out.bytes(b"\n");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init;
    use crate::home::Home;
    use crate::ids::Realm;

    #[test]
    fn a_new_trail_is_begun_only_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        drop(init::make(Home::named(Some(dir.path().to_owned())).unwrap(), realm).unwrap());
        let new = || Audit::New.run(Some(dir.path().to_owned()), &Out::new(false));
        let file = dir.path().join("audit.db");
        let before = std::fs::read(&file).unwrap();
        let error = new().unwrap_err().to_string();
        assert!(error.contains("audit.db is there; nothing was changed"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), before);

        std::fs::rename(&file, dir.path().join("kept.db")).unwrap();
        let log = dir.path().join("audit.db-wal");
        std::fs::write(&log, "the last rows").unwrap();
        assert!(new().unwrap_err().to_string().contains("audit.db-wal is there"));
        std::fs::remove_file(&log).unwrap();
        new().unwrap();
        let opened = Opened::open(Some(dir.path().to_owned())).unwrap();
        let trail = Trail::start(opened.audit_store().unwrap(), opened.clock.clone()).unwrap();
        let rows = trail.rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap();
        let [Row { event: Event::Admin { action, .. }, .. }] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(action, "audit.new");
    }
}
