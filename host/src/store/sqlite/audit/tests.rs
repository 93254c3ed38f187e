use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::ids::CallId;
use crate::store::MemoryAudit;
use crate::store::sqlite::plan;

fn opened() -> (TempDir, PathBuf, SqliteAudit) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let store = SqliteAudit::open(&path).unwrap();
    (folder, path, store)
}

fn realm(tenant: &str) -> Realm {
    Realm { tenant: tenant.parse().unwrap(), environment: "prod".parse().unwrap() }
}

/// Appends one record for each call; its hash is its number's digest.
fn append(store: &dyn AuditStore, calls: &[(&str, &CallId)]) -> Result<(), StoreError> {
    store.write(&mut |tx| {
        let mut head = tx.head()?;
        let mut record = |(tenant, call): &(&str, &CallId)| {
            let (seq, prev) = (head.0 + 1, head.1);
            head = (seq, Digest::of(&seq.to_be_bytes()));
            AuditRecord {
                seq,
                at: Millis(-5),
                realm: (!tenant.is_empty()).then(|| realm(tenant)),
                call: Some((*call).clone()),
                event: "{\"é\":1}".to_owned(),
                prev,
                hash: head.1,
            }
        };
        calls.iter().try_for_each(|call| tx.insert(record(call)))
    })
}

#[test]
fn both_stores_read_the_same() {
    let (_folder, path, sqlite) = opened();
    let memory = MemoryAudit::new();
    let (one, two) = (CallId::fresh(Millis(1)), CallId::fresh(Millis(2)));
    for store in [&sqlite as &dyn AuditStore, &memory] {
        assert_eq!(store.head().unwrap(), (0, Digest([0; 32])));
        append(store, &[("acme", &one), ("", &one), ("globex", &two)]).unwrap();
        append(store, &[("acme", &two), ("acme", &one), ("globex", &one)]).unwrap();
        append(store, &[]).unwrap();
        assert_eq!(store.head().unwrap(), (6, Digest::of(&6_u64.to_be_bytes())));
    }
    let reopened = SqliteAudit::open(&path).unwrap();
    let elsewhere = Realm { environment: "elsewhere".parse().unwrap(), ..realm("acme") };
    for reach in [
        None,
        Some(Reach::every(realm("acme").tenant)),
        Some(Reach::one(realm("acme"))),
        Some(Reach::one(elsewhere)),
        Some(Reach::every(realm("initech").tenant)),
    ] {
        for call in [None, Some(one.clone())] {
            for (before, from) in [
                (None, None),
                (Some(5), None),
                (None, Some(2)),
                (Some(0), Some(0)),
                (Some(u64::MAX), Some(3)),
            ] {
                for (limit, newest_first) in [(0, false), (2, true), (2, false), (100, true)] {
                    let filter = RowFilter {
                        reach: reach.clone(),
                        call: call.clone(),
                        before,
                        from,
                        limit,
                        newest_first,
                    };
                    let found = memory.rows(&filter).unwrap();
                    assert_eq!(sqlite.rows(&filter).unwrap(), found, "{filter:?}");
                    assert_eq!(reopened.rows(&filter).unwrap(), found, "{filter:?}");
                }
            }
        }
    }
}

#[test]
fn each_filter_reads_by_an_index() {
    let (_folder, _path, store) = opened();
    let connection = store.reader.lock();
    let (every, one) = (Reach::every(realm("acme").tenant), Reach::one(realm("acme")));
    let call = Some(CallId::fresh(Millis(1)));
    let by_call = "SEARCH audit USING INDEX audit_call (call=? AND rowid>? AND rowid<?)";
    for (reach, call, wanted) in [
        (None, None, "SEARCH audit USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (
            Some(every.clone()),
            None,
            "SEARCH audit USING INDEX audit_tenant (tenant=? AND rowid>? AND rowid<?)",
        ),
        (
            Some(one.clone()),
            None,
            "SEARCH audit USING INDEX audit_realm (tenant=? AND environment=? AND rowid>? AND rowid<?)",
        ),
        (None, call.clone(), by_call),
        (Some(every), call.clone(), by_call),
        (Some(one), call, by_call),
    ] {
        let sql = query(&RowFilter { reach, call, newest_first: true, ..RowFilter::default() });
        assert_eq!(plan(&connection, &sql, rusqlite::params!["a", "e", "c", 1, 9, 9]), [wanted]);
    }
}

#[test]
fn a_full_disk_says_so_and_leaves_the_trail_as_it_was() {
    let (_folder, _path, store) = opened();
    let call = CallId::fresh(Millis(1));
    append(&store, &[("acme", &call)]).unwrap();
    let limit = |pages: u32| {
        let writer = store.writer.lock();
        writer.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(1);
    let many = vec![("acme", &call); 500];
    let error = append(&store, &many).unwrap_err();
    assert!(matches!(&error, StoreError::Failed(why) if why.contains("disk is full")), "{error}");
    assert_eq!(store.head().unwrap().0, 1, "none of the batch is there");
    limit(u32::MAX / 2);
    append(&store, &many).unwrap();
    assert_eq!(store.head().unwrap().0, 501);
}

#[test]
fn a_read_only_database_says_so() {
    let (_folder, _path, store) = opened();
    let call = CallId::fresh(Millis(1));
    store.writer.lock().pragma_update(None, "query_only", true).unwrap();
    let error = append(&store, &[("acme", &call)]).unwrap_err();
    assert!(matches!(&error, StoreError::Failed(why) if why.contains("read-only")), "{error}");
}

#[test]
fn a_trail_is_not_taken_for_the_control_database() {
    let (_folder, path, _store) = opened();
    let error = crate::store::sqlite::SqliteControl::open(&path).unwrap_err();
    assert!(error.to_string().ends_with("is not a Keybearer control database"), "{error}");
}
