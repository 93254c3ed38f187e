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
                filed: Filed::default(),
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
                        ..RowFilter::default()
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
        for since in [None, Some(Millis(1))] {
            let (reach, call) = (reach.clone(), call.clone());
            let filter = RowFilter { reach, call, since, newest_first: true, ..RowFilter::default() };
            let with = rusqlite::params!["a", "e", "c", 1, 9, 1, 9, 9];
            assert_eq!(plan(&connection, &query(&filter, COLUMNS), with), [wanted]);
        }
    }
}

/// A record of a call or of none, filed under a token, an agent and a conversation where they're not empty, recorded at a time.
type Kept<'k> = (&'k str, Option<&'k CallId>, [&'k str; 3], i64);

fn keep(store: &dyn AuditStore, kept: &[Kept<'_>]) {
    let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    for (tenant, call, [token, agent, conversation], at) in kept {
        let write = store.write(&mut |tx| {
            let (seq, prev) = tx.head()?;
            tx.insert(AuditRecord {
                seq: seq + 1,
                at: Millis(*at),
                realm: Some(realm(tenant)),
                call: call.cloned(),
                filed: Filed {
                    token: named(token).map(|text| text.parse().unwrap()),
                    agent: named(agent).map(|text| text.parse().unwrap()),
                    conversation: named(conversation).map(|text| text.parse().unwrap()),
                },
                event: "{}".to_owned(),
                prev,
                hash: Digest::of(&seq.to_be_bytes()),
            })
        });
        write.unwrap();
    }
}

const TOKENS: [&str; 2] = ["tok_000000000000000000000001", "tok_000000000000000000000002"];
const NOTHING: [&str; 3] = ["", "", ""];

/// Filters for everybody and every time that there is in a trail, one by one and together.
fn filters() -> Vec<RowFilter> {
    let (agents, conversations, times) = (["", "a", "b"], ["", "c", "d"], [None, Some(16), Some(31)]);
    let mut filters = Vec::new();
    for token in ["", TOKENS[0], TOKENS[1]] {
        for (agent, conversation) in agents.iter().flat_map(|agent| conversations.map(|name| (*agent, name)))
        {
            for (since, until) in times.iter().flat_map(|since| times.map(|until| (*since, until))) {
                filters.push(RowFilter {
                    token: (!token.is_empty()).then(|| token.parse().unwrap()),
                    agent: (!agent.is_empty()).then(|| agent.parse().unwrap()),
                    conversation: (!conversation.is_empty()).then(|| conversation.parse().unwrap()),
                    since: since.map(Millis),
                    until: until.map(Millis),
                    ..RowFilter::default()
                });
            }
        }
    }
    filters
}

#[test]
fn all_rows_of_somebody_s_calls_are_found_page_by_page_whatever_the_clock_did() {
    let (_folder, _path, sqlite) = opened();
    let memory = MemoryAudit::new();
    let calls: Vec<_> = (1..=4).map(|at| CallId::fresh(Millis(at))).collect();
    let [one, two, three, theirs] = [0, 1, 2, 3].map(|at| Some(&calls[at]));
    let kept = [
        ("acme", None, [TOKENS[0], "a", "c"], 10),
        ("acme", one, [TOKENS[0], "a", "c"], 11),
        ("globex", theirs, [TOKENS[1], "a", "c"], 12),
        ("acme", two, [TOKENS[1], "b", "c"], 20),
        ("acme", one, NOTHING, 30),
        ("globex", theirs, NOTHING, 31),
        // The clock was put back, twice.
        ("acme", three, [TOKENS[0], "b", ""], 12),
        ("acme", two, NOTHING, 16),
        ("acme", three, NOTHING, 15),
        ("acme", one, NOTHING, 40),
        ("acme", None, [TOKENS[0], "", ""], 41),
    ];
    for store in [&sqlite as &dyn AuditStore, &memory] {
        keep(store, &kept);
    }
    assert_eq!(sqlite.set_back().unwrap(), Some(vec![7, 9]));
    let of = |filter: RowFilter| {
        let rows = sqlite.rows(&RowFilter { limit: 99, ..filter }).unwrap();
        rows.into_iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    let acme = RowFilter { reach: Some(Reach::one(realm("acme"))), ..RowFilter::default() };
    assert_eq!(
        of(RowFilter { conversation: Some("c".parse().unwrap()), ..acme.clone() }),
        [1, 2, 4, 5, 8, 10]
    );
    assert_eq!(of(RowFilter { agent: Some("b".parse().unwrap()), ..acme.clone() }), [4, 7, 8, 9]);
    // The last says what was done to it, and not whose it was.
    assert_eq!(
        of(RowFilter { token: Some(TOKENS[0].parse().unwrap()), ..acme.clone() }),
        [1, 2, 5, 7, 9, 10, 11]
    );
    assert_eq!(of(RowFilter { since: Some(Millis(16)), until: Some(Millis(40)), ..acme.clone() }), [4, 5, 8]);

    let reaches = [None, Some(Reach::every(realm("acme").tenant)), Some(Reach::one(realm("globex")))];
    for (filter, reach) in
        filters().iter().flat_map(|filter| reaches.iter().map(move |reach| (filter, reach)))
    {
        for (call, newest_first) in [(None, true), (None, false), (Some(calls[0].clone()), true)] {
            let all = RowFilter { reach: reach.clone(), call, newest_first, limit: 99, ..filter.clone() };
            let found = memory.rows(&all).unwrap();
            assert_eq!(sqlite.rows(&all).unwrap(), found, "{all:?}");
            let numbers: Vec<_> = found.iter().map(|row| row.seq).collect();
            assert_eq!(sqlite.numbers(&all).unwrap(), numbers, "{all:?}");
            // Page by page, they're the same.
            let (mut page, mut paged) = (RowFilter { limit: 2, ..all.clone() }, Vec::new());
            loop {
                let rows = sqlite.rows(&page).unwrap();
                let Some(last) = rows.last().map(|row| row.seq) else { break };
                (page.before, page.from) =
                    if newest_first { (Some(last), None) } else { (None, Some(last + 1)) };
                paged.extend(rows.iter().map(|row| row.seq));
            }
            assert_eq!(paged, numbers, "{all:?}");
        }
    }
}

/// A search without an end.
fn search<'s>(connection: &'s Connection, filter: &'s RowFilter) -> Search<'s> {
    Search { connection, filter, until: None }
}

#[test]
fn somebody_s_rows_are_read_by_indexes_of_their_realm_alone() {
    let (_folder, _path, store) = opened();
    let connection = store.searcher.lock();
    let (every, one) = (Reach::every(realm("acme").tenant), Reach::one(realm("acme")));
    for filter in filters().into_iter().filter(RowFilter::is_of_someone) {
        let (sql, _) = found::by_name(&filter);
        let steps = plan(&connection, &sql, rusqlite::params!["t", "e", "n", 9, "k", "a"]);
        let [first, then] = &steps[..] else { panic!("{sql}: {steps:?}") };
        let is_by_index = ["conversation", "token", "agent"].iter().any(|column| {
            let index =
                format!("INDEX audit_{column} (tenant=? AND environment=? AND {column}=? AND rowid<?)");
            first.starts_with("SEARCH f USING ") && first.contains(&index)
        });
        assert!(is_by_index, "{sql}: {steps:?}");
        assert!(then.starts_with("SEARCH r USING COVERING INDEX audit_call (call=?)"), "{sql}: {steps:?}");
        for (reach, walked) in [
            (None, "SEARCH audit USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (Some(&every), "SEARCH audit USING INDEX audit_tenant (tenant=? AND rowid>? AND rowid<?)"),
            (
                Some(&one),
                "SEARCH audit USING INDEX audit_realm (tenant=? AND environment=? AND rowid>? AND rowid<?)",
            ),
        ] {
            let filter = RowFilter { reach: reach.cloned(), ..filter.clone() };
            let with = rusqlite::params!["t", "e", "c", 1, 9, 1, 9, 9, "k", "a", "n"];
            assert_eq!(plan(&connection, &query(&filter, found::WALKED), with), [walked]);
            let sql = found::of_call(reach);
            let steps = plan(&connection, &sql, rusqlite::params!["t", "e", "c", "k", "a", "n"]);
            let by_call =
                |step: &&String| step.contains(" audit ") && step.contains("INDEX audit_call (call=?)");
            assert_eq!(steps.iter().filter(|step| step.contains(" audit ")).count(), 1, "{sql}: {steps:?}");
            assert_eq!(steps.iter().filter(by_call).count(), 1, "{sql}: {steps:?}");
        }
    }
    for sql in [found::NEXT_REALM, found::NEXT_ENVIRONMENT] {
        let steps = plan(&connection, sql, &[&"t", &"e"]);
        let wanted = "SEARCH audit USING COVERING INDEX audit_realm (";
        assert!(matches!(&steps[..], [step] if step.starts_with(wanted)), "{sql}: {steps:?}");
    }
}

#[test]
fn walking_and_sorting_find_the_same_and_each_stops_where_it_should() {
    let (_folder, _path, store) = opened();
    let calls: Vec<_> = (1..=3).map(|at| CallId::fresh(Millis(at))).collect();
    let of = |at: usize| Some(&calls[at]);
    // The second call is asked about before it begins, and ends long after others began.
    keep(
        &store,
        &[
            ("acme", of(1), [TOKENS[1], "a", "d"], 9),
            ("acme", of(0), [TOKENS[0], "a", "c"], 10),
            ("acme", of(1), [TOKENS[1], "a", "d"], 16),
            ("acme", of(0), NOTHING, 20),
            ("globex", of(2), [TOKENS[0], "a", "c"], 21),
            ("acme", None, [TOKENS[0], "", ""], 12),
            // A call that is filed twice.
            ("acme", of(0), [TOKENS[0], "a", "c"], 31),
            ("acme", of(1), NOTHING, 32),
        ],
    );
    let connection = store.searcher.lock();
    let all = (i64::MIN, i64::MAX);
    // Wherever a page ends, between the rows of a call too.
    let borders: Vec<_> = (0..=8).flat_map(|first| (first..=8).map(move |last| (first, last))).collect();
    for filter in filters().into_iter().filter(RowFilter::is_of_someone) {
        let is_timed = filter.since.is_some() || filter.until.is_some();
        let ranges: &[(i64, i64)] = if is_timed { std::slice::from_ref(&all) } else { &borders };
        for (newest_first, limit) in [(true, 99), (false, 99), (true, 2), (false, 2)] {
            let filter = RowFilter { newest_first, limit, ..filter.clone() };
            let search = search(&connection, &filter);
            for range in ranges {
                let sorted = search.sorted(*range, 99).unwrap().unwrap();
                let (mut walked, mut rest) = (Vec::new(), Some(*range));
                while let Some(range) = rest {
                    rest = search.walk(range, 2, &mut walked).unwrap();
                }
                assert_eq!(walked, sorted, "{range:?}: {filter:?}");
                assert_eq!(search.numbers(*range).unwrap(), sorted, "{range:?}: {filter:?}");
            }
        }
    }
    let of_agent = RowFilter { agent: Some("a".parse().unwrap()), limit: 99, ..RowFilter::default() };
    let mut found = Vec::new();
    assert_eq!(search(&connection, &of_agent).walk(all, 3, &mut found).unwrap(), Some((4, i64::MAX)));
    assert_eq!(found, [1, 2, 3]);
    // What was recorded at another time is walked past as any other.
    let later = RowFilter { since: Some(Millis(99)), ..of_agent.clone() };
    found.clear();
    assert_eq!(search(&connection, &later).walk(all, 3, &mut found).unwrap(), Some((4, i64::MAX)));
    assert!(found.is_empty());
    let newest = RowFilter { newest_first: true, ..of_agent };
    assert_eq!(search(&connection, &newest).walk(all, 3, &mut found).unwrap(), Some((i64::MIN, 5)));
    assert_eq!(found, [8, 7]);
    // However many rows there are of somebody, no more are read than may be sorted.
    assert_eq!(search(&connection, &newest).sorted(all, 12).unwrap(), None);
    assert_eq!(search(&connection, &newest).sorted(all, 13).unwrap(), Some(vec![8, 7, 5, 4, 3, 2, 1]));
}

#[test]
fn a_search_is_given_up_in_a_host_and_keeps_nobody_else_waiting() {
    let (_folder, path, store) = opened();
    keep(&store, &[("acme", None, [TOKENS[0], "a", "c"], 10)]);
    let filter = RowFilter { agent: Some("a".parse().unwrap()), limit: 9, ..RowFilter::default() };
    let over = Some((Instant::now(), SEARCH_MAX));
    let connection = store.searcher.lock();
    // None of the rows that it goes past is of its time.
    let later = RowFilter { since: Some(Millis(99)), ..filter.clone() };
    let past = Search { until: over, ..search(&connection, &later) };
    let search = Search { until: over, ..search(&connection, &filter) };
    for error in [
        search.numbers((1, 9)).unwrap_err(),
        search.sorted((1, 9), 9).unwrap_err(),
        search.walk((1, 9), 9, &mut Vec::new()).unwrap_err(),
        past.walk((1, 9), 9, &mut Vec::new()).unwrap_err(),
    ] {
        assert!(matches!(&error, StoreError::TooLong(why) if why.contains("2 seconds")), "{error}");
    }
    // While one is under way: what the writer and the operator read, and what is written.
    assert_eq!(store.head().unwrap().0, 1);
    assert_eq!(store.rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap().len(), 1);
    assert!(store.held(None, 9).unwrap().is_empty());
    keep(&store, &[("acme", None, NOTHING, 11)]);
    drop(connection);
    assert_eq!(store.search_max, None);
    assert_eq!(SqliteAudit::for_host(&path).unwrap().search_max, Some(SEARCH_MAX));
}

#[test]
fn a_row_that_was_taken_out_of_an_index_is_missed() {
    let (_folder, path, store) = opened();
    keep(&store, &[("acme", None, [TOKENS[0], "a", "c"], 10), ("acme", None, [TOKENS[1], "b", "d"], 11)]);
    store.check_indexes().unwrap();
    drop(store);
    // What is written while the index is said to be another one isn't put into it.
    let connection = Connection::open(&path).unwrap();
    let tampered = "PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = sql || ' AND seq < 0' WHERE name = 'audit_token';
        PRAGMA writable_schema = RESET;
        INSERT INTO audit SELECT 3, at, tenant, environment, call, token, agent, conversation, event, prev, hash
            FROM audit WHERE seq = 2;
        PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = replace(sql, ' AND seq < 0', '') WHERE name = 'audit_token';
        PRAGMA writable_schema = RESET;";
    connection.execute_batch(tampered).unwrap();
    drop(connection);
    let store = SqliteAudit::existing(&path).unwrap();
    let error = store.check_indexes().unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged(why) if why.contains("audit.db") && why.contains("audit_token")),
        "{error}"
    );
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
