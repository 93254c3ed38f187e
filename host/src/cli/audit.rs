//! `keybearer audit`.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;
use zeroize::Zeroizing;

use super::Done;
use super::context::Opened;
use super::out::Out;
use crate::audit::{self, Event, Row, SendBegun, SendKnown, SendRefused, export};
use crate::egress::Vault;
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
        match self {
            Self::New => begin(&opened, out),
            Self::List { limit, tenant, before } => {
                let reach = tenant.map(Reach::every);
                let filter = RowFilter { reach, before, limit, newest_first: true, ..RowFilter::default() };
                let mut found = rows(&*opened.audit_store()?, &filter)?;
                found.reverse();
                Ok(print(out, found))
            }
            Self::Show { call } => {
                let filter = RowFilter { call: Some(call.clone()), limit: u32::MAX, ..RowFilter::default() };
                let found = rows(&*opened.audit_store()?, &filter)?;
                if found.is_empty() {
                    bail!("nothing is recorded of {call}");
                }
                Ok(print(out, found))
            }
            Self::Questions { tenant } => questions(&opened, out, tenant.as_ref()),
            Self::Verify { holds } => verify(&*opened.audit_store()?, out, holds.as_ref()),
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

/// All of them, oldest first. They go to standard output as they are, with `--json` or without. One that can't be read
/// keeps back no other.
fn questions(opened: &Opened, out: &Out, tenant: Option<&TenantId>) -> anyhow::Result<Done> {
    let (store, vault) = (opened.audit_store()?, opened.vault()?);
    let (mut from, mut printed, mut lost) = (1, 0_u64, 0_u64);
    loop {
        let reach = tenant.cloned().map(Reach::every);
        let filter = RowFilter { reach, from: Some(from), limit: PAGE_ROWS, ..RowFilter::default() };
        let found = rows(&store, &filter)?;
        let Some((last, _)) = found.last().filter(|_| out.written().is_ok()) else { break };
        from = last.saturating_add(1);
        for (_, row) in found {
            match row.and_then(|row| question(&vault, &row)) {
                Ok(None) => {}
                Ok(Some(text)) => {
                    out.bytes(&text);
                    out.bytes(b"\n");
                    printed += 1;
                }
                Err(why) => {
                    out.note(format!("can't be read: {why}"));
                    lost += 1;
                }
            }
        }
    }
    if lost > 0 {
        bail!("{lost} rows can't be read, or the questions in them; {printed} questions were printed");
    }
    if printed == 0 {
        out.note("no question is kept: set [audit] keep_questions = true in keybearer.toml");
    }
    Ok(Done::Well)
}

/// What the policies were asked, if a row has it.
fn question(vault: &Vault, row: &Row) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let (Event::SendBegun(SendBegun { question: Some(sealed), .. })
    | Event::SendRefused(SendRefused { known: SendKnown { question: Some(sealed), .. }, .. })) = &row.event
    else {
        return Ok(None);
    };
    let (Some(realm), Some(call)) = (&row.realm, &row.call) else { return Ok(None) };
    let unreadable = |why: &dyn Display| format!("the question of audit row {}: {why}", row.seq);
    let sealed = hex::decode(sealed).map_err(|error| unreadable(&error))?;
    let opened = vault.open_note(realm, &question_of(call), &sealed);
    opened.map(Some).map_err(|error| unreadable(&error))
}

fn verify(store: &SqliteAudit, out: &Out, holds: Option<&audit::Head>) -> anyhow::Result<Done> {
    match audit::verify(store, holds) {
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

/// A row's number, and the row or why it can't be read.
type Found = (u64, Result<Row, String>);

/// Rows with their numbers, or why one can't be read, which keeps back no other.
fn rows(store: &SqliteAudit, filter: &RowFilter) -> Result<Vec<Found>, StoreError> {
    let why = |error| match error {
        StoreError::Damaged(why) => why,
        other => other.to_string(),
    };
    let each = store.each_row(filter)?.into_iter();
    Ok(each.map(|(seq, record)| (seq, record.and_then(Row::try_from).map_err(why))).collect())
}

fn print(out: &Out, found: Vec<Found>) -> Done {
    let (mut read, mut done) = (Vec::with_capacity(found.len()), Done::Well);
    for (_, row) in found {
        match row {
            Ok(row) => {
                out.line(export::line(&row));
                read.push(row);
            }
            Err(why) => {
                out.note(format!("can't be read: {why}"));
                done = Done::Problems;
            }
        }
    }
    out.value(&read);
    done
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::Connection;

    use super::*;
    use crate::audit::Audit as Trail;
    use crate::cli::init;
    use crate::home::Home;
    use crate::ids::Realm;
    use crate::refusal::Code;

    fn home() -> (tempfile::TempDir, Opened) {
        let dir = tempfile::tempdir().unwrap();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        drop(init::make(Home::named(Some(dir.path().to_owned())).unwrap(), realm).unwrap());
        let opened = Opened::open(Some(dir.path().to_owned())).unwrap();
        (dir, opened)
    }

    fn run(audit: Audit, dir: &Path) -> anyhow::Result<Done> {
        audit.run(Some(dir.to_owned()), &Out::new(false))
    }

    fn list() -> Audit {
        Audit::List { limit: 50, tenant: None, before: None }
    }

    #[test]
    fn a_damaged_row_is_named_by_what_reads_the_trail_and_hides_no_other() {
        for damage in ["hash = x'00'", "event = '{'", "event = CAST(x'ff' AS TEXT)"] {
            let (dir, opened) = home();
            for subject in ["one", "two", "three"] {
                opened.record(None, "token.mint", subject).unwrap();
            }
            assert_eq!(run(list(), dir.path()).unwrap(), Done::Well);
            let last = "WHERE seq = (SELECT max(seq) FROM audit)";
            let trail = Connection::open(dir.path().join("audit.db")).unwrap();
            trail.execute(&format!("UPDATE audit SET {damage} {last}"), []).unwrap();
            let store = opened.audit_store().unwrap();
            let found = rows(&store, &RowFilter { limit: 9, ..RowFilter::default() }).unwrap();
            let (lost, read): (Vec<_>, Vec<_>) = found.iter().partition(|(_, row)| row.is_err());
            assert_eq!(lost.len(), 1, "{damage}: {lost:?}");
            assert_eq!(lost[0].0, u64::try_from(found.len()).unwrap());
            assert!(read.len() >= 2, "{damage}");
            assert_eq!(run(list(), dir.path()).unwrap(), Done::Problems, "{damage}");
            assert_eq!(run(Audit::Verify { holds: None }, dir.path()).unwrap(), Done::Problems, "{damage}");
            let error = run(Audit::Questions { tenant: None }, dir.path()).unwrap_err().to_string();
            assert!(error.starts_with("1 rows can't be read"), "{error}");
        }
    }

    #[test]
    fn a_question_that_can_not_be_read_is_counted_and_keeps_back_no_other() {
        let (dir, opened) = home();
        let vault = opened.vault().unwrap();
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        let call = CallId::fresh(opened.clock.now());
        let sealed = hex::encode(vault.seal_note(&realm, &question_of(&call), b"{}").unwrap());
        let trail = Connection::open(dir.path().join("audit.db")).unwrap();
        // Not hexadecimal, and sealed by a key that isn't there any more.
        for question in ["x", "00ff", sealed.as_str()] {
            opened.record(Some(realm.clone()), "token.mint", "tok").unwrap();
            let event = Event::SendRefused(SendRefused {
                connection: "stripe".to_owned(),
                code: Code::Denied,
                known: SendKnown { question: Some(question.to_owned()), ..SendKnown::default() },
            });
            let event = serde_json::to_string(&event).unwrap();
            let last = "UPDATE audit SET event = ?1, call = ?2 WHERE seq = (SELECT max(seq) FROM audit)";
            trail.execute(last, [event.as_str(), call.as_str()]).unwrap();
        }
        let error = run(Audit::Questions { tenant: None }, dir.path()).unwrap_err().to_string();
        assert_eq!(error, "2 rows can't be read, or the questions in them; 1 questions were printed");
    }

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
