//! What the chain shows, on the real store.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::approval::Fingerprint;
use crate::audit::chain::Unsealed;
use crate::clock::SystemClock;
use crate::store::sqlite::SqliteAudit;

/// How many rows [`filled`] writes.
const ROWS: u64 = 9;

async fn filled() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let audit = open(&path);
    audit.recover().unwrap();
    for _ in 0..2 {
        let pending = begin(&audit).await.unwrap();
        begin_send(&pending).await.unwrap().finished(answered(), SETTLED, None);
        pending.finish(Outcome::ok(b"{}"), ()).await.unwrap();
    }
    assert_eq!(audit.verify(None).unwrap().head, audit.head().unwrap());
    assert_eq!(audit.head().unwrap().seq, ROWS);
    (folder, path)
}

fn open(path: &Path) -> Audit {
    Audit::start(Arc::new(SqliteAudit::open(path).unwrap()), Arc::new(SystemClock)).unwrap()
}

/// A trail that is changed behind its back, without waiting for the disk, and put right again.
struct Tampered {
    store: SqliteAudit,
    connection: Connection,
}

impl Tampered {
    fn new(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        let prepare = "PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON;
                       CREATE TEMP TABLE saved AS SELECT * FROM audit";
        connection.execute_batch(prepare).unwrap();
        Self { store: SqliteAudit::open(path).unwrap(), connection }
    }

    /// What there's to find after these statements.
    fn after(&self, sql: &str) -> Result<Verified, VerifyError> {
        self.connection.execute_batch(sql).unwrap();
        let found = verify(&self.store, None);
        self.connection.execute_batch("DELETE FROM audit; INSERT INTO audit SELECT * FROM saved").unwrap();
        assert!(verify(&self.store, None).is_ok());
        found
    }

    /// How many bytes a column of a row has, unless it's null.
    fn length(&self, seq: u64, column: &str) -> Option<u32> {
        let sql = format!("SELECT octet_length({column}) FROM audit WHERE seq = {seq}");
        self.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

#[track_caller]
fn assert_broken(found: Result<Verified, VerifyError>, at: u64, what: impl Fn(&Fault) -> bool) {
    match found {
        Err(VerifyError::Broken { seq, fault }) => {
            assert!(seq == at && what(&fault), "row {seq} {fault}, not row {at}");
        }
        other => panic!("{other:?}, not row {at}"),
    }
}

#[tokio::test]
async fn a_changed_byte_of_any_column_of_any_row_is_found() {
    let (_folder, path) = filled().await;
    let trail = Tampered::new(&path);
    for seq in 1..=ROWS {
        for (column, kind) in [
            ("tenant", "TEXT"),
            ("environment", "TEXT"),
            ("call", "TEXT"),
            ("event", "TEXT"),
            ("prev", "BLOB"),
            ("hash", "BLOB"),
        ] {
            // Another half of the byte, so that a letter or digit mostly becomes another one.
            for byte in 1..=trail.length(seq, column).unwrap_or(0) {
                let sql = format!(
                    "UPDATE audit SET {column} = (
                       SELECT CAST(unhex(substr(h, 1, 2 * {byte} - 1) || iif(substr(h, 2 * {byte}, 1) = '1', '2', '1')
                         || substr(h, 2 * {byte} + 1)) AS {kind})
                       FROM (SELECT hex({column}) AS h)
                     ) WHERE seq = {seq}"
                );
                assert_broken(trail.after(&sql), seq, |fault| {
                    matches!(fault, Fault::Changed | Fault::Unreadable(_))
                });
            }
        }
        let changed = |sql: &str| {
            let sql = format!("UPDATE audit SET {sql} WHERE seq = {seq}");
            assert_broken(trail.after(&sql), seq, |fault| *fault == Fault::Changed);
        };
        changed("at = at + 1");
        match trail.length(seq, "call") {
            Some(_) => changed("tenant = NULL, environment = NULL, call = NULL"),
            None => changed("tenant = 'acme', environment = 'prod'"),
        }
    }
}

#[tokio::test]
async fn a_row_that_is_filed_under_another_name_or_time_than_it_says_is_found() {
    let (_folder, path) = filled().await;
    let trail = Tampered::new(&path);
    let began = 2;
    assert!(trail.length(began, "conversation").is_some() && trail.length(began + 1, "agent").is_none());
    for (row, sql) in [
        (began, "conversation = 'c-2'"),
        (began, "conversation = NULL"),
        (began, "agent = 'another'"),
        (began, "token = 'tok_000000000000000000000001'"),
        (began + 1, "conversation = 'c-1'"),
        (1, "agent = 'billing-bot'"),
    ] {
        let sql = format!("UPDATE audit SET {sql} WHERE seq = {row}");
        assert_broken(trail.after(&sql), row, |fault| *fault == Fault::Misfiled);
    }
    let unreadable = format!("UPDATE audit SET agent = ' ' WHERE seq = {began}");
    assert_broken(trail.after(&unreadable), began, |fault| matches!(fault, Fault::Unreadable(_)));
    trail.connection.execute_batch("INSERT INTO audit_back VALUES (5)").unwrap();
    assert_broken(verify(&trail.store, None), 5, |fault| *fault == Fault::Misfiled);
}

#[tokio::test]
async fn where_the_clock_went_back_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteAudit::open(&folder.path().join("audit.db")).unwrap());
    let clock = Arc::new(ManualClock::at(Millis(2_000)));
    let audit = Audit::start(store.clone(), clock.clone()).unwrap();
    for now in [2_000, 1_000, 1_000, 3_000] {
        clock.put(Millis(now));
        audit.admin(None, "kill.throw", "everything", "cli").await.unwrap();
    }
    assert_eq!(store.set_back().unwrap(), Some(vec![2]));
    audit.verify(None).unwrap();
    Connection::open(folder.path().join("audit.db"))
        .unwrap()
        .execute_batch("DELETE FROM audit_back")
        .unwrap();
    assert_broken(audit.verify(None), 2, |fault| *fault == Fault::Misfiled);
}

#[tokio::test]
async fn a_change_that_means_the_same_is_found_too() {
    let (_folder, path) = filled().await;
    let trail = Tampered::new(&path);
    let spaced = "UPDATE audit SET event = replace(event, '{', '{ ') WHERE seq = 4";
    assert_broken(trail.after(spaced), 4, |fault| *fault == Fault::Changed);
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_named() {
    let (_folder, path) = filled().await;
    let trail = Tampered::new(&path);
    for (sql, at) in [
        ("UPDATE audit SET event = CAST(x'ff' AS TEXT) WHERE seq = 7", 7),
        ("UPDATE audit SET hash = x'00' WHERE seq = 5", 5),
        ("UPDATE audit SET tenant = NULL WHERE seq = 6", 6),
        ("UPDATE audit SET call = 'CALL' WHERE seq = 2", 2),
        ("UPDATE audit SET seq = -3 WHERE seq = 9", 1),
    ] {
        assert_broken(trail.after(sql), at, |fault| matches!(fault, Fault::Unreadable(_)));
    }
}

#[tokio::test]
async fn a_row_that_was_removed_moved_or_added_is_found() {
    let (_folder, path) = filled().await;
    let trail = Tampered::new(&path);
    for seq in 1..ROWS {
        let removed = format!("DELETE FROM audit WHERE seq = {seq}");
        assert_broken(trail.after(&removed), seq, |fault| *fault == Fault::Missing);
        let closed = format!("{removed}; UPDATE audit SET seq = seq - 1 WHERE seq > {seq}");
        assert_broken(trail.after(&closed), seq, |fault| *fault == Fault::Changed);
        let swapped = format!(
            "UPDATE audit SET seq = 100 WHERE seq = {seq}; UPDATE audit SET seq = {seq} WHERE seq = {seq} + 1;
             UPDATE audit SET seq = {seq} + 1 WHERE seq = 100"
        );
        assert_broken(trail.after(&swapped), seq, |fault| *fault == Fault::Changed);
    }
    let copied = "INSERT INTO audit SELECT seq + 1, at, tenant, environment, call, token, agent, conversation, event, \
                  prev, hash FROM audit WHERE seq = 9";
    assert_broken(trail.after(copied), 10, |fault| *fault == Fault::Changed);
    assert_broken(trail.after("UPDATE audit SET seq = 4000000 WHERE seq = 9"), 9, |fault| {
        *fault == Fault::Missing
    });
}

#[tokio::test]
async fn a_row_with_a_hash_of_its_own_making_does_not_follow() {
    let (_folder, path) = filled().await;
    let store = SqliteAudit::open(&path).unwrap();
    let mut forged =
        store.rows(&RowFilter { from: Some(4), limit: 1, ..RowFilter::default() }).unwrap().remove(0);
    forged.at = Millis(0);
    let hash = super::super::chain::hash(&forged).hex();
    drop(store);
    let changed = format!("UPDATE audit SET at = 0, hash = unhex('{hash}') WHERE seq = 4");
    assert_broken(Tampered::new(&path).after(&changed), 5, |fault| *fault == Fault::Unchained);
}

#[tokio::test]
async fn a_head_that_was_kept_shows_what_the_chain_cannot() {
    let (_folder, path) = filled().await;
    let store = SqliteAudit::open(&path).unwrap();
    let kept = Head::from(store.head().unwrap());
    assert_eq!(kept.to_string().parse(), Ok(kept));
    assert!("9:sha256:00".parse::<Head>().is_err());

    let with = |sql: &str| {
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        verify(&store, Some(&kept))
    };
    assert_eq!(with("").unwrap().head, kept);
    let cut = with("DELETE FROM audit WHERE seq > 7");
    let vouches_for_none = |fault: &Fault| fault.to_string().ends_with("no row before it is vouched for");
    assert_broken(cut, 8, |fault| *fault == Fault::CutOff && vouches_for_none(fault));
    assert_eq!(verify(&store, None).unwrap().head.seq, 7, "the chain by itself can't tell");

    // Written anew from there on: a chain that holds, and isn't the one.
    let audit = open(&path);
    for _ in 0..3 {
        audit.admin(None, "token.mint", "tok", "cli").await.unwrap();
    }
    assert!(audit.verify(None).is_ok());
    assert_broken(audit.verify(Some(&kept)), 9, |fault| *fault == Fault::Replaced && vouches_for_none(fault));
    assert_broken(with("DELETE FROM audit"), 1, |fault| *fault == Fault::CutOff);
}

#[tokio::test]
async fn an_error_of_the_trail_says_what_is_wrong_once() {
    let (_folder, path) = filled().await;
    Connection::open(&path).unwrap().execute_batch("UPDATE audit SET hash = x'00' WHERE seq = 9").unwrap();
    let store = Arc::new(SqliteAudit::open(&path).unwrap());
    let error = anyhow::Error::from(Audit::start(store, Arc::new(SystemClock)).err().unwrap());
    assert_eq!(format!("{error:#}").matches("audit row 9").count(), 1, "{error:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_of_one_file_keep_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let mut calls = Vec::new();
    for audit in [open(&path), open(&path)] {
        for _ in 0..40 {
            let audit = audit.clone();
            calls.push(tokio::spawn(async move {
                let pending = begin(&audit).await.unwrap();
                pending.finish(Outcome::ok(b""), ()).await.unwrap();
            }));
        }
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(open(&path).verify(None).unwrap().head.seq, 160);
}

#[tokio::test]
async fn what_resolved_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let audit = open(&path);
    let pending = begin(&audit).await.unwrap();
    let _send = begin_send(&pending).await.unwrap();
    // What a killed process leaves: the file and its log, nothing closed, nothing checkpointed.
    let killed = tempfile::tempdir().unwrap();
    for name in ["audit.db", "audit.db-wal"] {
        std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    let store = Arc::new(SqliteAudit::open(&killed.path().join("audit.db")).unwrap());
    let reopened = Audit::start(store.clone(), Arc::new(SystemClock)).unwrap();
    assert_eq!(reopened.recover().unwrap(), 1);
    reopened.verify(None).unwrap();
    assert_eq!(
        story(&*store),
        [
            "call",
            "send 1",
            "send 1 done: sent unknown",
            "Unknown: 1 sends, sent unknown",
            "started, 1 recovered"
        ]
    );
}

#[test]
fn rows_are_shown_on_one_line_each() {
    let record = |event| Row {
        seq: 7,
        at: Millis(0),
        realm: None,
        call: None,
        event,
        prev: Digest([0; 32]),
        hash: Digest([1; 32]),
    };
    let admin = record(Event::Admin {
        action: "secret.set".to_owned(),
        subject: "a\nb\u{1b}[31m".to_owned(),
        by: "cli".to_owned(),
        reason: Some("b\nc".to_owned()),
        token: None,
    });
    assert_eq!(
        export::line(&admin),
        "       7  1970-01-01T00:00:00.000Z  host  admin  secret.set  a\\nb\\u{1b}[31m  by=cli  reason=b\\nc"
    );
    let approval = record(Event::Approval(ApprovalStep {
        id: "apr_000000000000000000000001".parse().unwrap(),
        step: Step::Approved,
        by: "cli:root".parse().unwrap(),
        token: None,
        fingerprint: Fingerprint::for_tests("x"),
        conversation: None,
    }));
    let line = export::line(&approval);
    assert!(
        line.contains("approval approved  apr_000000000000000000000001  by=cli:root  fingerprint="),
        "{line}"
    );
    let call = CallBegun { model_call: Some("toolu_01/x".parse().unwrap()), ..intent() };
    let line = export::line(&record(Event::CallBegun(call)));
    assert!(line.contains("  conversation=c-1  model_call=toolu_01/x  door=tool  component="), "{line}");
    let mut begun = record(Event::SendBegun(send_intent(1)));
    (begun.realm, begun.call) = (Some(realm()), Some(CallId::fresh(Millis(0))));
    let line = export::line(&begun);
    assert!(line.contains("acme/prod  call_") && line.contains("send 1 begun  stripe:get_invoice"), "{line}");
    let approved =
        SendBegun { approval: Some("apr_000000000000000000000001".parse().unwrap()), ..send_intent(1) };
    let line = export::line(&record(Event::SendBegun(approved)));
    assert!(line.contains("  approval=apr_000000000000000000000001  request="), "{line}");
    let line = export::line(&record(Event::ShadowDiffered(difference())));
    assert!(line.contains(&format!("  policy={}", difference().policy.short())), "{line}");

    let json = serde_json::to_string(&begun).unwrap();
    assert!(!json.contains('\n') && json.contains(r#""event":"send_begun""#), "{json}");
    assert_eq!(serde_json::from_str::<Row>(&json).unwrap(), begun, "nothing is left out");
}

/// A store whose lock comes late: another process records something first, and time goes by.
struct Late {
    store: SqliteAudit,
    clock: Arc<ManualClock>,
}

impl AuditStore for Late {
    fn write(&self, work: TrailWork<'_>) -> Result<(), StoreError> {
        self.clock.advance(Duration::from_millis(5));
        self.store.write(&mut |tx| {
            let mut head = tx.head()?;
            let row = r#"{"event":"admin","action":"a","subject":"s","by":"cli"}"#;
            tx.insert(Unsealed::of_text(None, None, row.to_owned()).seal(self.clock.now(), &mut head))
        })?;
        self.clock.advance(Duration::from_millis(5));
        self.store.write(work)
    }

    fn rows(&self, filter: &RowFilter) -> Result<Vec<AuditRecord>, StoreError> {
        self.store.rows(filter)
    }

    fn head(&self) -> Result<(u64, Digest), StoreError> {
        self.store.head()
    }

    fn set_back(&self) -> Result<Option<Vec<u64>>, StoreError> {
        self.store.set_back()
    }
}

#[tokio::test]
async fn who_waits_for_another_process_does_not_put_the_clock_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Millis(1_000)));
    let store = SqliteAudit::open(&folder.path().join("audit.db")).unwrap();
    let store = Arc::new(Late { store, clock: clock.clone() });
    let audit = Audit::start(store.clone(), clock).unwrap();
    audit.recover().unwrap();
    audit.admin(None, "a", "s", "cli").await.unwrap();
    let rows = audit.rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap();
    let times: Vec<_> = rows.iter().map(|row| row.at.0).collect();
    assert_eq!(times, [1_005, 1_010, 1_015, 1_020]);
    assert_eq!(store.set_back().unwrap(), Some(Vec::new()));
    audit.verify(None).unwrap();
}
