use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::ids::Digest;
use crate::store::sqlite::plan;
use crate::store::{ComponentKind, MemoryControl, TokenKind};

struct Fixture {
    _folder: TempDir,
    path: PathBuf,
    store: SqliteControl,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.db");
    let store = SqliteControl::open(&path).unwrap();
    Fixture { _folder: folder, path, store }
}

impl Fixture {
    fn tamper(&self, sql: &str) {
        Connection::open(&self.path).unwrap().execute_batch(sql).unwrap();
    }
}

fn realm(tenant: &str) -> Realm {
    Realm { tenant: tenant.parse().unwrap(), environment: "prod".parse().unwrap() }
}

pub(super) fn token(tenant: &str, created_at: i64) -> TokenRow {
    let id = TokenId::fresh();
    TokenRow {
        hash: Digest::of(id.as_str().as_bytes()).0,
        id,
        kind: TokenKind::Agent,
        realm: realm(tenant),
        every_environment: false,
        agent: "billing-bot".parse().unwrap(),
        conversation: Some("c-1".parse().unwrap()),
        role: None,
        task: None,
        user: Some("user:1@x".parse().unwrap()),
        parent: None,
        minted_by: Some("alice".parse().unwrap()),
        grant: serde_json::from_str(r#"{"tools": ["get_invoice"], "operations": ["stripe:*"]}"#).unwrap(),
        created_at: Millis(created_at),
        expires_at: Millis(created_at + 1_000),
        revoked_at: None,
    }
}

fn key(tenant: &str, wrapped: &[u8]) -> TenantKeyRow {
    TenantKeyRow { tenant: tenant.parse().unwrap(), master: "m1".to_owned(), wrapped: wrapped.to_vec() }
}

fn secret(tenant: &str, version: u32) -> SecretRow {
    SecretRow {
        realm: realm(tenant),
        user: None,
        label: "stripe-prod".parse().unwrap(),
        version,
        wrapped_key: vec![1, 2, 3],
        ciphertext: vec![4, 5, 6],
        created_at: Millis(7),
    }
}

fn component(name: &str, bytes: &[u8]) -> ComponentRow {
    ComponentRow {
        name: name.to_owned(),
        kind: ComponentKind::Tool,
        digest: Digest::of(bytes),
        described: "[]".to_owned(),
        connections: vec!["stripe".parse().unwrap()],
        added_at: Millis(7),
        active: true,
    }
}

#[test]
fn tokens_are_found_listed_and_revoked() {
    let Fixture { store, .. } = &fixture();
    let (old, new, other) = (token("acme", 1), token("acme", 2), token("globex", 3));
    for row in [&old, &new, &other] {
        store.insert_token(row).unwrap();
    }
    assert_eq!(store.token_by_hash(&old.hash).unwrap().as_ref(), Some(&old));
    assert_eq!(store.token_by_hash(&[0; 32]).unwrap(), None);
    assert_eq!(store.tokens(Some(&Reach::every(realm("acme").tenant))).unwrap(), [new.clone(), old.clone()]);
    assert_eq!(store.tokens(None).unwrap(), [other, new, old.clone()]);

    assert!(!store.revoke_token(&old.id, Some(&Reach::every(realm("globex").tenant)), Millis(9)).unwrap());
    assert!(!store.revoke_token(&TokenId::fresh(), None, Millis(9)).unwrap());
    assert!(store.revoke_token(&old.id, Some(&Reach::one(realm("acme"))), Millis(9)).unwrap());
    assert!(store.revoke_token(&old.id, None, Millis(10)).unwrap());
    // One for every environment is within reach of who reaches every environment.
    let wide = TokenRow { every_environment: true, kind: TokenKind::Operator, ..token("acme", 4) };
    store.insert_token(&wide).unwrap();
    let one = Reach::one(realm("acme"));
    assert!(!store.revoke_token(&wide.id, Some(&one), Millis(9)).unwrap());
    assert!(!store.tokens(Some(&one)).unwrap().iter().any(|row| row.id == wide.id));
    assert_eq!(store.token_by_id(&wide.id).unwrap().as_ref(), Some(&wide));
    let revoked = store.token_by_hash(&old.hash).unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(Millis(9)), "the first time is kept");
}

#[test]
fn tokens_of_every_kind_come_back_as_they_were() {
    let Fixture { store, .. } = &fixture();
    for kind in TokenKind::ALL {
        let row = TokenRow { kind, ..token("acme", 1) };
        store.insert_token(&row).unwrap();
        assert_eq!(store.token_by_id(&row.id).unwrap(), Some(row));
    }
}

#[test]
fn tokens_know_their_parents() {
    let Fixture { store, .. } = &fixture();
    let parent = token("acme", 1);
    let child = TokenRow { parent: Some(parent.id.clone()), ..token("acme", 2) };
    for row in [&parent, &child] {
        store.insert_token(row).unwrap();
    }
    assert_eq!(store.token_by_id(&child.id).unwrap().as_ref(), Some(&child));
    assert_eq!(store.token_by_id(&TokenId::fresh()).unwrap(), None);
}

/// Forgets those that ended before a time, and answers which they were.
fn forget(store: &dyn ControlStore, before: i64) -> Vec<(Realm, TokenId)> {
    let mut gone = Vec::new();
    let forgotten = store.forget_tokens(Millis(before), &mut |some| {
        gone.extend_from_slice(some);
        Ok(())
    });
    forgotten.unwrap();
    gone
}

/// Below a token there's room for so many, however they stand there.
fn keeps_so_many_below_one(store: &dyn ControlStore) {
    let (root, other) = (token("acme", 1), token("acme", 2));
    for row in [&root, &other] {
        store.insert_token(row).unwrap();
    }
    let below = |parent: &TokenRow| TokenRow { parent: Some(parent.id.clone()), ..token("acme", 3) };
    let child = below(&root);
    let ended = TokenRow { revoked_at: Some(Millis(3)), expires_at: Millis(9), ..below(&child) };
    for row in [&child, &ended] {
        assert!(store.insert_delegated(row, &root.id, 2).unwrap());
    }
    for parent in [&root, &child, &ended] {
        let row = below(parent);
        assert!(!store.insert_delegated(&row, &root.id, 2).unwrap());
        assert_eq!(store.token_by_id(&row.id).unwrap(), None);
    }
    assert!(store.insert_delegated(&below(&other), &other.id, 1).unwrap());

    assert!(forget(store, 3).is_empty());
    store.forget_tokens(Millis(4), &mut |_| Err(StoreError::Failed("not now".to_owned()))).unwrap_err();
    assert!(store.token_by_id(&ended.id).unwrap().is_some());
    assert_eq!(forget(store, 4), [(realm("acme"), ended.id.clone())]);
    assert_eq!(store.token_by_id(&ended.id).unwrap(), None);
    assert!(store.insert_delegated(&below(&child), &root.id, 2).unwrap());
    assert!(!store.insert_delegated(&below(&child), &root.id, 2).unwrap());
}

#[test]
fn below_a_token_there_is_room_for_so_many() {
    keeps_so_many_below_one(&fixture().store);
    keeps_so_many_below_one(&MemoryControl::new());
}

#[test]
fn tokens_that_are_over_are_all_forgotten_and_found_by_their_index() {
    let Fixture { store, .. } = &fixture();
    let kept = token("acme", 5_000);
    let inserted = store.writer.write(|transaction| {
        // More than go in one transaction.
        for number in 0..=i64::from(FORGOTTEN_MAX) {
            tokens::insert(transaction, &token("acme", number))?;
        }
        tokens::insert(transaction, &kept)
    });
    inserted.unwrap();
    let gone = forget(store, 5_000);
    assert_eq!(gone.len(), FORGOTTEN_MAX as usize + 1);
    assert!(gone.iter().all(|(of, id)| *of == realm("acme") && *id != kept.id));
    assert_eq!(store.tokens(None).unwrap(), [kept]);
    let reader = store.reader.lock();
    let steps = plan(&reader, tokens::OVER, rusqlite::params![1, 9]);
    assert!(steps.iter().any(|step| step.ends_with("INDEX tokens_ended (<expr><?)")), "{steps:?}");
}

fn pages_tokens(store: &dyn ControlStore) {
    let rows = [1, 5, 5, 5, 2].map(|created_at| token("acme", created_at));
    for row in rows.iter().chain([&token("globex", 5)]) {
        store.insert_token(row).unwrap();
    }
    let reach = Reach::every(realm("acme").tenant);
    let ids = |after: Option<&TokenRow>, limit: u32| -> Vec<_> {
        let page = store.token_page(Some(&reach), after.map(|row| &row.id), limit).unwrap();
        page.into_iter().map(|row| row.id).collect()
    };
    let all = [3, 2, 1, 4, 0].map(|at: usize| rows[at].id.clone());
    assert_eq!(ids(None, 9), all);
    assert_eq!(ids(None, 2), all[..2]);
    assert_eq!(ids(Some(&rows[2]), 2), all[2..4]);
    assert_eq!(ids(Some(&rows[4]), 2), all[4..]);
    assert_eq!(ids(Some(&rows[0]), 2), []);
    assert_eq!(store.token_page(None, None, 9).unwrap().len(), 6);
}

#[test]
fn tokens_are_read_page_by_page() {
    pages_tokens(&fixture().store);
    pages_tokens(&MemoryControl::new());
}

#[test]
fn a_token_is_inserted_once() {
    let Fixture { store, .. } = &fixture();
    let row = token("acme", 1);
    store.insert_token(&row).unwrap();
    let same_hash = TokenRow { id: TokenId::fresh(), ..row.clone() };
    for again in [row, same_hash] {
        assert!(matches!(store.insert_token(&again), Err(StoreError::Exists(_))));
    }
}

fn keeps_the_key_that_a_tenant_has(store: &dyn ControlStore) {
    let first = key("acme", b"one");
    assert_eq!(store.ensure_tenant_key(&first, "in use").unwrap(), None, "no master key is in use");
    store.ensure_setting("in use", b"m2").unwrap();
    assert_eq!(store.ensure_tenant_key(&first, "in use").unwrap(), None, "another one is");
    assert_eq!(store.tenant_key(&first.tenant).unwrap(), None);
    store.replace_tenant_keys(&[], &[], "in use", "m1").unwrap();
    for row in [&first, &key("acme", b"two"), &TenantKeyRow { master: "m2".into(), ..first.clone() }] {
        assert_eq!(store.ensure_tenant_key(row, "in use").unwrap().as_ref(), Some(&first));
    }
    assert_eq!(store.tenant_key(&first.tenant).unwrap(), Some(first));
}

#[test]
fn a_tenant_keeps_the_key_it_has() {
    keeps_the_key_that_a_tenant_has(&fixture().store);
    keeps_the_key_that_a_tenant_has(&MemoryControl::new());
}

fn replaces_all_keys_or_none(store: &dyn ControlStore) {
    store.ensure_setting("in use", b"m1").unwrap();
    let was = [key("acme", b"a1"), key("globex", b"g1")];
    for row in &was {
        store.ensure_tenant_key(row, "in use").unwrap();
    }
    let now = [key("acme", b"a2"), key("globex", b"g2")];
    let replace = |was: &[TenantKeyRow]| store.replace_tenant_keys(was, &now, "in use", "m2");
    // One was changed since, one was added.
    for stale in [&[was[0].clone(), key("globex", b"g0")][..], &was[..1]] {
        assert!(matches!(replace(stale), Err(StoreError::Failed(_))));
        assert_eq!(store.tenant_keys().unwrap(), was, "nothing was replaced");
        assert_eq!(store.setting("in use").unwrap().as_deref(), Some(b"m1".as_slice()));
    }
    replace(&was).unwrap();
    assert_eq!(store.tenant_keys().unwrap(), now);
    assert_eq!(store.setting("in use").unwrap().as_deref(), Some(b"m2".as_slice()));
}

#[test]
fn tenant_keys_are_replaced_all_or_none() {
    replaces_all_keys_or_none(&fixture().store);
    replaces_all_keys_or_none(&MemoryControl::new());
    let Fixture { store, .. } = &fixture();
    let stranger = store.replace_tenant_keys(&[], &[key("initech", b"i1")], "in use", "m1");
    assert!(matches!(stranger, Err(StoreError::Missing(_))));
    assert_eq!(store.setting("in use").unwrap(), None);
}

#[test]
fn a_setting_keeps_its_first_value() {
    for store in [&fixture().store as &dyn ControlStore, &MemoryControl::new()] {
        assert_eq!(store.setting("salt").unwrap(), None);
        for value in [b"1", b"2"] {
            assert_eq!(store.ensure_setting("salt", value).unwrap(), b"1");
        }
        assert_eq!(store.setting("salt").unwrap().as_deref(), Some(b"1".as_slice()));
    }
}

#[test]
fn a_setting_that_is_put_has_its_last_value() {
    for store in [&fixture().store as &dyn ControlStore, &MemoryControl::new()] {
        for value in [b"1", b"2"] {
            store.put_setting("time", value).unwrap();
            assert_eq!(store.setting("time").unwrap().as_deref(), Some(value.as_slice()));
        }
    }
}

#[test]
fn what_is_removed_lies_in_no_file_any_more() {
    let file = &fixture();
    let folder = file.path.parent().unwrap();
    let is_there = || {
        std::fs::read_dir(folder).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(9).any(|part| part == b"sealed-42")
        })
    };
    // One within a page, and one that takes several.
    for (version, times) in [(1, 1), (2, 1_000)] {
        let row = SecretRow { ciphertext: b"sealed-42".repeat(times), ..secret("acme", version) };
        insert_secret(&file.store, &row).unwrap();
    }
    insert_secret(&file.store, &secret("acme", 3)).unwrap();
    assert!(is_there());
    for version in [1, 2] {
        let row = secret("acme", version);
        assert_eq!(file.store.remove_secret(&row.realm, None, &row.label, Some(version)).unwrap(), 1);
    }
    assert!(!is_there());
    assert_eq!(file.store.secrets(None).unwrap(), [secret("acme", 3)]);
}

/// Adds a version whatever its number.
fn insert_secret(store: &SqliteControl, row: &SecretRow) -> Result<(), StoreError> {
    store.insert_next_secret(row, "any", store.setting("any")?.as_deref())
}

#[test]
fn secrets_have_versions() {
    let Fixture { store, .. } = &fixture();
    let label = "stripe-prod".parse().unwrap();
    let rows = [secret("acme", 1), secret("acme", 2), secret("acme", 10), secret("globex", 1)];
    for row in rows.iter().rev() {
        insert_secret(store, row).unwrap();
    }
    assert!(matches!(insert_secret(store, &rows[0]), Err(StoreError::Exists(_))));
    assert_eq!(store.newest_secret(&realm("acme"), None, &label).unwrap().as_ref(), Some(&rows[2]));
    assert_eq!(store.newest_secret(&realm("initech"), None, &label).unwrap(), None);
    let other = Realm { environment: "dev".parse().unwrap(), ..realm("acme") };
    assert_eq!(store.newest_secret(&other, None, &label).unwrap(), None);
    assert_eq!(store.secrets(None).unwrap(), rows);
    assert_eq!(store.secrets(Some(&realm("globex").tenant)).unwrap(), rows[3..]);

    assert_eq!(store.remove_secret(&realm("acme"), None, &label, Some(10)).unwrap(), 1);
    assert_eq!(store.newest_secret(&realm("acme"), None, &label).unwrap().as_ref(), Some(&rows[1]));
    assert_eq!(store.remove_secret(&realm("acme"), None, &label, None).unwrap(), 2);
    assert_eq!(store.remove_secret(&realm("acme"), None, &label, None).unwrap(), 0);
    assert_eq!(store.secrets(None).unwrap(), rows[3..]);
}

fn stores_versions_with_their_numbers(store: &dyn ControlStore) {
    let label = "stripe-prod".parse().unwrap();
    let row = |version| secret("acme", version);
    store.insert_next_secret(&row(1), "last", None).unwrap();
    for (version, was) in [(1, None), (2, None), (2, Some("0")), (1, Some("1"))] {
        let refused = store.insert_next_secret(&row(version), "last", was.map(str::as_bytes));
        assert!(matches!(refused, Err(StoreError::Exists(_))), "{version} after {was:?}");
        assert_eq!(store.setting("last").unwrap().as_deref(), Some(b"1".as_slice()));
        assert_eq!(store.secrets(None).unwrap(), [row(1)]);
    }
    // A number stays taken when its row is gone.
    assert_eq!(store.remove_secret(&realm("acme"), None, &label, Some(1)).unwrap(), 1);
    assert!(matches!(store.insert_next_secret(&row(1), "last", None), Err(StoreError::Exists(_))));
    store.insert_next_secret(&row(2), "last", Some(b"1")).unwrap();
    assert_eq!(store.secrets(None).unwrap(), [row(2)]);
    store.insert_next_secret(&row(3), "last", Some(b"2")).unwrap();
    assert_eq!(store.secrets(None).unwrap(), [row(2), row(3)]);
}

#[test]
fn a_version_of_a_secret_and_its_number_are_stored_together_or_not_at_all() {
    stores_versions_with_their_numbers(&fixture().store);
    stores_versions_with_their_numbers(&MemoryControl::new());
}

#[test]
fn a_user_s_secrets_and_an_operator_s_of_one_label_are_apart() {
    let Fixture { store, .. } = &fixture();
    let label = "stripe-prod".parse().unwrap();
    let of = |user: &str, version| SecretRow { user: Some(user.parse().unwrap()), ..secret("acme", version) };
    let rows = [secret("acme", 1), of("ann", 1), of("ann", 2), of("bob", 1)];
    rows.iter().for_each(|row| insert_secret(store, row).unwrap());
    assert!(matches!(insert_secret(store, &rows[1]), Err(StoreError::Exists(_))));
    let (ann, cid) = ("ann".parse().unwrap(), "cid".parse().unwrap());
    let newest = |user| store.newest_secret(&realm("acme"), user, &label).unwrap();
    assert_eq!(newest(None).as_ref(), Some(&rows[0]));
    assert_eq!(newest(Some(&ann)).as_ref(), Some(&rows[2]));
    assert_eq!(newest(Some(&cid)), None);
    assert_eq!(store.secrets(None).unwrap(), rows);
    assert_eq!(store.user_secrets(&realm("acme"), &ann).unwrap(), rows[1..3]);
    assert_eq!(store.user_secrets(&realm("globex"), &ann).unwrap(), []);
    assert_eq!(store.remove_secret(&realm("acme"), None, &label, None).unwrap(), 1);
    assert_eq!(store.remove_secret(&realm("acme"), Some(&ann), &label, Some(1)).unwrap(), 1);
    assert_eq!(store.secrets(None).unwrap(), rows[2..]);
}

#[test]
fn one_component_of_a_name_is_active() {
    let fixture = &fixture();
    let store = &fixture.store;
    let (old, new, other) = (component("stripe", b"1"), component("stripe", b"2"), component("text", b"3"));
    for row in [&old, &new, &other] {
        store.activate_component(row).unwrap();
    }
    let retired = ComponentRow { active: false, ..old.clone() };
    assert_eq!(store.components().unwrap(), [new.clone(), other.clone(), retired]);

    store.activate_component(&old).unwrap();
    let retired = ComponentRow { active: false, ..new };
    assert_eq!(store.components().unwrap(), [old, other.clone(), retired.clone()]);

    assert!(store.deactivate_component("stripe").unwrap());
    assert!(!store.deactivate_component("stripe").unwrap());
    assert_eq!(store.components().unwrap()[0], other);

    // The kind is part of the consent: it's what the last one said, and another word is damage.
    let sandbox = ComponentRow { kind: ComponentKind::Sandbox, ..other };
    store.activate_component(&sandbox).unwrap();
    assert_eq!(store.components().unwrap()[0], sandbox);
    fixture.tamper("UPDATE components SET kind = 'trusted'");
    assert!(matches!(store.components(), Err(StoreError::Damaged(_))));
}

#[test]
fn the_version_changes_with_every_commit_of_any_handle() {
    let Fixture { store, path, .. } = &fixture();
    let other = SqliteControl::open(path).unwrap();
    let mut seen = store.version().unwrap();
    assert_eq!(store.version().unwrap(), seen, "it stands while nothing is committed");
    let mut changed = |what: &str| {
        let now = store.version().unwrap();
        assert_ne!(now, seen, "{what}");
        seen = now;
    };
    let row = token("acme", 1);
    store.insert_token(&row).unwrap();
    changed("own commit");
    other.revoke_token(&row.id, None, Millis(2)).unwrap();
    changed("another handle's commit");
    store.ensure_setting("a", b"1").unwrap();
    changed("own commit after another's");
}

#[test]
fn a_failed_write_changes_nothing() {
    let Fixture { store, .. } = &fixture();
    let row = token("acme", 1);
    store.insert_token(&row).unwrap();
    let before = store.version().unwrap();
    assert!(store.insert_token(&row).is_err());
    assert_eq!(store.version().unwrap(), before);
    assert_eq!(store.tokens(None).unwrap(), [row]);
}

#[test]
fn damaged_rows_are_named() {
    let file = &fixture();
    let row = token("acme", 1);
    file.store.insert_token(&row).unwrap();
    file.store.ensure_setting("in use", b"m1").unwrap();
    file.store.ensure_tenant_key(&key("acme", b"one"), "in use").unwrap();
    insert_secret(&file.store, &secret("acme", 1)).unwrap();
    file.store.activate_component(&component("stripe", b"1")).unwrap();

    let damage = |sql: &str, names: &[&str]| {
        file.tamper(sql);
        let results = [
            file.store.tokens(None).map(drop),
            file.store.tenant_keys().map(drop),
            file.store.secrets(None).map(drop),
            file.store.components().map(drop),
        ];
        let found: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert!(!found.is_empty(), "{sql}");
        for error in found {
            assert!(matches!(error, StoreError::Damaged(_)), "{sql}: {error}");
            let text = error.to_string();
            assert!(names.iter().all(|name| text.contains(name)), "{sql}: {text}");
        }
    };
    let id = row.id.as_str();
    damage("UPDATE tokens SET rights = '{'", &[id, "rights"]);
    damage("UPDATE tokens SET rights = '{\"all\": true}'", &[id, "rights"]);
    damage("UPDATE tokens SET rights = '{}', kind = 'root'", &[id, "kind"]);
    damage("UPDATE tokens SET kind = 'agent', agent = ''", &[id, "agent"]);
    damage("UPDATE tokens SET agent = 'a', hash = x'00'", &[id, "hash"]);
    damage("UPDATE tokens SET tenant = CAST(x'ff' AS TEXT), hash = zeroblob(32)", &[id, "tenant"]);
    damage("UPDATE tokens SET id = 'a' || char(10) || 'b'", &["a\\nb", "column id"]);
    damage("DELETE FROM tokens; UPDATE tenant_keys SET tenant = 'A'", &["key of tenant A"]);
    damage(
        "DELETE FROM tenant_keys; UPDATE secrets SET version = -1",
        &["acme/prod//stripe-prod/-1", "version"],
    );
    damage("DELETE FROM secrets; UPDATE components SET digest = 'x'", &["component stripe/x", "digest"]);
    damage(
        "UPDATE components SET digest = printf('%064d', 0), connections = '[\"..\"]'",
        &["component stripe/", "connections"],
    );
}

#[test]
fn a_read_only_database_says_so() {
    let Fixture { store, .. } = &fixture();
    store.writer.lock().pragma_update(None, "query_only", true).unwrap();
    let error = store.insert_token(&token("acme", 1)).unwrap_err();
    assert!(matches!(&error, StoreError::Failed(why) if why.contains("read-only")), "{error}");
    store.writer.lock().pragma_update(None, "query_only", false).unwrap();
    store.insert_token(&token("acme", 1)).unwrap();
}

#[test]
fn a_full_disk_says_so_and_leaves_what_was_there() {
    let Fixture { store, .. } = &fixture();
    store.ensure_setting("kept", b"1").unwrap();
    let pages: u32 = store.writer.lock().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |pages: u32| {
        let writer = store.writer.lock();
        writer.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(pages);
    let error = store.ensure_setting("large", &[0; 100_000]).unwrap_err();
    assert!(matches!(&error, StoreError::Failed(why) if why.contains("disk is full")), "{error}");
    assert_eq!(store.setting("kept").unwrap().as_deref(), Some(b"1".as_slice()));
    assert_eq!(store.setting("large").unwrap(), None);
    limit(u32::MAX / 2);
    store.ensure_setting("large", &[0; 100_000]).unwrap();
}

#[test]
fn what_was_written_is_there_after_a_kill() {
    let Fixture { store, path, .. } = &fixture();
    let row = token("acme", 1);
    store.insert_token(&row).unwrap();
    // What a killed process leaves: the file and its log, nothing closed, nothing checkpointed.
    let killed = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("control.db{suffix}");
        std::fs::copy(path.with_file_name(&name), killed.path().join(&name)).unwrap();
    }
    let reopened = SqliteControl::open(&killed.path().join("control.db")).unwrap();
    assert_eq!(reopened.tokens(None).unwrap(), [row]);
}
