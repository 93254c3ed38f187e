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
use crate::clock::Millis;
use crate::egress::Vault;
use crate::ids::{AgentId, CallId, ConversationId, TenantId, TokenId};
use crate::pipeline::question_of;
use crate::reach::Reach;
use crate::store::sqlite::{FoundRecord, SqliteAudit};
use crate::store::{AuditStore as _, RowFilter, StoreError};

/// How many rows are read at once.
const PAGE_ROWS: u32 = 1_024;

/// Of how many rows the numbers are looked up at once, where all rows are wanted: half a megabyte of them.
const NUMBERS_MAX: u32 = 65_536;

/// How many rows are listed where nobody says.
const LISTED: u32 = 50;

/// Commands on the audit trail.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Audit {
    /// List the newest rows, oldest of them first. Of several filters, all have to fit.
    List(Wanted),
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

/// Which rows to list.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Wanted {
    /// At most so many rows, the newest: 50 unless given.
    #[arg(long, conflicts_with = "all")]
    limit: Option<u32>,
    /// Every row, oldest first, however many there are: for an export, with `--json`.
    #[arg(long)]
    all: bool,
    /// Rows of this tenant only.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Rows before this number only.
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// All rows of the calls of this conversation.
    #[arg(long)]
    conversation: Option<ConversationId>,
    /// All rows of the calls of this agent, and what was done to it and its tokens.
    #[arg(long)]
    agent: Option<AgentId>,
    /// All rows of the calls with this token, and what was done to it (`tok_…`).
    #[arg(long, value_name = "ID")]
    token: Option<TokenId>,
    /// Rows that were recorded then or later only: `2026-07-01`, or `2026-07-01T08:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = audit::when)]
    since: Option<Millis>,
    /// Rows that were recorded before only.
    #[arg(long, value_name = "TIME", value_parser = audit::when)]
    until: Option<Millis>,
}

impl Audit {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        match self {
            Self::New => begin(&opened, out),
            Self::List(wanted) => list(&*opened.audit_store()?, out, wanted),
            Self::Show { call } => {
                let filter = RowFilter { call: Some(call.clone()), limit: u32::MAX, ..RowFilter::default() };
                let store = opened.audit_store()?;
                let numbers = store.numbers(&filter)?;
                if numbers.is_empty() {
                    bail!("nothing is recorded of {call}");
                }
                let mut list = List::new(out);
                list.rows(&store, None, &numbers)?;
                Ok(list.end())
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

/// The newest rows that fit, or all of them: page by page, so that no more than a page of them is in memory.
fn list(store: &SqliteAudit, out: &Out, wanted: Wanted) -> anyhow::Result<Done> {
    let Wanted { limit, all, tenant, before, conversation, agent, token, since, until } = wanted;
    let filter = RowFilter {
        reach: tenant.map(Reach::every),
        conversation,
        agent,
        token,
        since,
        until,
        before,
        ..RowFilter::default()
    };
    if filter.is_of_no_time() {
        bail!("--until has to come after --since");
    }
    let mut list = List::new(out);
    if all {
        // What is written meanwhile isn't waited for.
        let end = store.head()?.0.saturating_add(1);
        let before = Some(before.map_or(end, |before| before.min(end)));
        let mut next = RowFilter { before, limit: NUMBERS_MAX, ..filter.clone() };
        loop {
            let numbers = store.numbers(&next)?;
            let Some(last) = numbers.last().filter(|_| out.written().is_ok()) else { break };
            next.from = Some(last.saturating_add(1));
            list.rows(store, filter.reach.as_ref(), &numbers)?;
        }
        return Ok(list.end());
    }
    let shown = limit.unwrap_or(LISTED);
    let newest = RowFilter { limit: shown, newest_first: true, ..filter.clone() };
    let mut numbers = store.numbers(&newest)?;
    numbers.reverse();
    list.rows(store, filter.reach.as_ref(), &numbers)?;
    // Who asks about somebody would take it for all there is.
    if limit.is_none() && filter.is_of_someone() && numbers.len() as u64 >= u64::from(shown) {
        out.note(format!("these are the newest {shown} rows: --all lists every one"));
    }
    Ok(list.end())
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
        out.note(none_kept(opened.config.keep_questions));
    }
    Ok(Done::Well)
}

/// Why there may be no question.
fn none_kept(are_kept: bool) -> &'static str {
    if are_kept {
        "no question is kept yet: those are kept that come up once a host was started with [audit] keep_questions = true"
    } else {
        "no question is kept: set [audit] keep_questions = true in keybearer.toml, and restart the host"
    }
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
    let verified = audit::verify(store, holds);
    if verified.is_ok()
        && let Err(error) = store.check_indexes()
    {
        let why = match error {
            StoreError::Damaged(why) => why,
            other => return Err(other.into()),
        };
        let problem = format!("an index isn't what the rows make it, so rows may not be found by it: {why}");
        out.line(format!("the chain holds, and {problem}"));
        out.value(&json!({ "holds": false, "problem": problem }));
        return Ok(Done::Problems);
    }
    match verified {
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
    Ok(readable(store.each_row(filter)?))
}

fn readable(records: Vec<FoundRecord>) -> Vec<Found> {
    let why = |error| match error {
        StoreError::Damaged(why) => why,
        other => other.to_string(),
    };
    let each = records.into_iter();
    each.map(|(seq, record)| (seq, record.and_then(Row::try_from).map_err(why))).collect()
}

/// A list of rows as it's printed: lines, or one JSON array. A row that can't be read is told of, and keeps back no other.
struct List<'o> {
    out: &'o Out,
    done: Done,
    /// Whether a row was printed.
    begun: bool,
}

impl<'o> List<'o> {
    fn new(out: &'o Out) -> Self {
        Self { out, done: Done::Well, begun: false }
    }

    /// The rows with these numbers, some at a time.
    fn rows(&mut self, store: &SqliteAudit, reach: Option<&Reach>, numbers: &[u64]) -> anyhow::Result<()> {
        for page in numbers.chunks(PAGE_ROWS as usize) {
            if self.out.written().is_err() {
                break;
            }
            let mut text = String::new();
            for (_, row) in readable(store.each_of(reach, page)?) {
                match row {
                    Ok(row) => self.add(&mut text, &row)?,
                    Err(why) => {
                        self.out.note(format!("can't be read: {why}"));
                        self.done = Done::Problems;
                    }
                }
            }
            self.out.bytes(text.as_bytes());
        }
        Ok(())
    }

    fn add(&mut self, text: &mut String, row: &Row) -> anyhow::Result<()> {
        if self.out.is_json() {
            text.push_str(if self.begun { ",\n  " } else { "[\n  " });
            // Within strings, JSON has no line breaks.
            text.push_str(&serde_json::to_string_pretty(row)?.replace('\n', "\n  "));
        } else {
            text.push_str(&export::line(row));
            text.push('\n');
        }
        self.begun = true;
        Ok(())
    }

    fn end(self) -> Done {
        if self.out.is_json() {
            self.out.bytes(if self.begun { &b"\n]\n"[..] } else { &b"[]\n"[..] });
        }
        self.done
    }
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
        Audit::List(Wanted::default())
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
    fn a_row_that_was_taken_out_of_an_index_is_told_of() {
        let (dir, opened) = home();
        opened.record(None, "agent.register", "agent-1").unwrap();
        let verify = || run(Audit::Verify { holds: None }, dir.path()).unwrap();
        assert_eq!(verify(), Done::Well);
        let tampered = "CREATE TEMP TABLE saved AS SELECT * FROM audit WHERE agent IS NOT NULL;
            DELETE FROM audit WHERE agent IS NOT NULL;
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = sql || ' AND seq < 0' WHERE name = 'audit_agent';
            PRAGMA writable_schema = RESET;
            INSERT INTO audit SELECT * FROM saved;
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(sql, ' AND seq < 0', '') WHERE name = 'audit_agent';
            PRAGMA writable_schema = RESET;";
        Connection::open(dir.path().join("audit.db")).unwrap().execute_batch(tampered).unwrap();
        assert_eq!(verify(), Done::Problems);
    }

    #[test]
    fn who_has_questions_kept_is_not_told_to_have_them_kept() {
        assert!(none_kept(false).contains("set [audit] keep_questions = true"));
        assert!(!none_kept(true).contains("set ") && none_kept(true).contains("no question is kept yet"));
        let (dir, opened) = home();
        std::fs::write(opened.home.config_file(), "[audit]\nkeep_questions = true\n").unwrap();
        assert_eq!(run(Audit::Questions { tenant: None }, dir.path()).unwrap(), Done::Well);
    }

    #[test]
    fn all_rows_are_listed_page_by_page_and_a_list_is_one_json_array() {
        let (dir, opened) = home();
        for n in 0..3 {
            opened.record(None, "agent.register", &format!("agent-{n}")).unwrap();
        }
        let store = opened.audit_store().unwrap();
        let out = Out::new(true);
        let all = RowFilter { limit: 99, ..RowFilter::default() };
        let (mut list, mut text) = (List::new(&out), String::new());
        let whole: Vec<_> = rows(&store, &all).unwrap().into_iter().map(|(_, row)| row.unwrap()).collect();
        whole.iter().for_each(|row| list.add(&mut text, row).unwrap());
        assert_eq!(format!("{text}\n]"), serde_json::to_string_pretty(&whole).unwrap());
        for wanted in [
            Wanted { all: true, ..Wanted::default() },
            Wanted { all: true, agent: Some("agent-1".parse().unwrap()), ..Wanted::default() },
            Wanted { limit: Some(2), since: Some(Millis(0)), ..Wanted::default() },
            Wanted { conversation: Some("nobody-s".parse().unwrap()), ..Wanted::default() },
        ] {
            assert_eq!(run(Audit::List(wanted), dir.path()).unwrap(), Done::Well);
        }
        let never = Wanted { since: Some(Millis(2)), until: Some(Millis(2)), ..Wanted::default() };
        let error = run(Audit::List(never), dir.path()).unwrap_err().to_string();
        assert_eq!(error, "--until has to come after --since");
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
