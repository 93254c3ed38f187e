use zeroize::Zeroizing;

use super::*;
use crate::clock::ManualClock;
use crate::store::{MemoryControl, TenantKeyRow};

mod rotation;

struct World {
    store: Arc<MemoryControl>,
    vault: Vault,
}

fn master(byte: u8) -> MasterKey {
    let mut bytes = [byte; 32];
    bytes[0] = !byte;
    MasterKey::derive(&bytes)
}

fn open(store: &Arc<MemoryControl>, masters: impl Into<MasterKeys>) -> Result<Vault, AdminError> {
    Vault::open(Arc::clone(store) as Arc<dyn ControlStore>, masters, Arc::new(ManualClock::at(Millis(7))))
}

fn world() -> World {
    let store = Arc::new(MemoryControl::new());
    let vault = open(&store, master(1)).ok().unwrap();
    World { store, vault }
}

fn realm(tenant: &str, environment: &str) -> Realm {
    Realm { tenant: tenant.parse().unwrap(), environment: environment.parse().unwrap() }
}

fn prod() -> Realm {
    realm("acme", "prod")
}

fn label(text: &str) -> SecretLabel {
    text.parse().unwrap()
}

fn named<'a>(realm: &'a Realm, label: &'a SecretLabel) -> Named<'a> {
    Named { realm, user: None, label }
}

fn input(text: &str) -> SecretInput {
    SecretInput::new(Zeroizing::new(text.as_bytes().to_vec())).ok().unwrap()
}

/// The newest secret as text, or why there's none.
fn read(vault: &Vault, realm: &Realm, name: &str) -> Result<String, VaultError> {
    let secret = vault.newest(Named { realm, user: None, label: &label(name) })?;
    Ok(String::from_utf8(secret.expose().to_vec()).unwrap())
}

fn cause(vault: &Vault, realm: &Realm, name: &str) -> String {
    match read(vault, realm, name) {
        Err(VaultError::NoSecret { cause }) => cause,
        other => panic!("{other:?}"),
    }
}

/// Puts `row` where the secret `row` names should be, in place of what is there.
fn plant(store: &MemoryControl, row: &SecretRow) {
    store.remove_secret(&row.realm, row.user.as_ref(), &row.label, Some(row.version)).unwrap();
    store.insert_next_secret(row, "planted", store.setting("planted").unwrap().as_deref()).unwrap();
}

/// Puts `row` in the place of its tenant's key.
fn plant_key(store: &MemoryControl, row: &TenantKeyRow) {
    let was = store.tenant_keys().unwrap();
    let mut now = was.clone();
    *now.iter_mut().find(|known| known.tenant == row.tenant).unwrap() = row.clone();
    store.replace_tenant_keys(&was, &now, MASTER_ID, &row.master).unwrap();
}

#[test]
fn a_stored_secret_is_read_back_and_stored_nowhere_in_clear() {
    let w = world();
    assert_eq!(w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap(), 1);
    assert_eq!(read(&w.vault, &prod(), "stripe").unwrap(), "sk_live_12345678");
    let row = w.store.newest_secret(&prod(), None, &label("stripe")).unwrap().unwrap();
    assert!(!row.ciphertext.windows(8).any(|part| b"sk_live_12345678".windows(8).any(|s| s == part)));
    assert_eq!(row.created_at, Millis(7));
}

#[test]
fn versions_count_up_and_the_newest_is_in_use() {
    let w = world();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_1_______")).unwrap();
    read(&w.vault, &prod(), "stripe").unwrap();
    assert_eq!(w.vault.put(&prod(), &label("stripe"), &input("sk_live_2_______")).unwrap(), 2);
    assert_eq!(read(&w.vault, &prod(), "stripe").unwrap(), "sk_live_2_______", "the cache is dropped");
    let versions: Vec<_> = w.vault.list(None).unwrap().iter().map(|info| info.version).collect();
    assert_eq!(versions, [1, 2]);
    assert_eq!(w.vault.remove(&prod(), &label("stripe"), Some(2)).unwrap(), 1);
    assert_eq!(read(&w.vault, &prod(), "stripe").unwrap(), "sk_live_1_______");
}

#[test]
fn a_version_number_is_never_used_twice() {
    let w = world();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_1_______")).unwrap();
    assert_eq!(w.vault.remove(&prod(), &label("stripe"), None).unwrap(), 1);
    assert!(cause(&w.vault, &prod(), "stripe").contains("no such secret"));
    assert_eq!(w.vault.put(&prod(), &label("stripe"), &input("sk_live_2_______")).unwrap(), 2);
    assert_eq!(w.vault.put(&prod(), &label("other"), &input("sk_live_3_______")).unwrap(), 1);
}

#[test]
fn two_processes_that_store_at_once_get_two_versions() {
    let w = world();
    let versions: Vec<u32> = std::thread::scope(|scope| {
        let put = || w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(put)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<_> = versions.iter().collect();
    assert_eq!(distinct.len(), 4, "{versions:?}");
    assert!(w.vault.check().unwrap().is_empty());
}

#[test]
fn no_number_comes_twice_where_several_store_and_remove_at_once() {
    let w = world();
    // Few enough that nobody loses a number to the others more often than it tries.
    let store_and_remove = || {
        let version = w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
        w.vault.remove(&prod(), &label("stripe"), Some(version)).unwrap();
        version
    };
    let versions: Vec<u32> = std::thread::scope(|scope| {
        let work = || (0..4).map(|_| store_and_remove()).collect::<Vec<u32>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<_> = versions.iter().collect();
    assert_eq!(distinct.len(), 16, "{versions:?}");
}

#[test]
fn of_several_that_store_a_new_secret_at_once_one_does() {
    for user in [None, Some(user("ann"))] {
        let w = world();
        let put = |expected| {
            w.vault.put_if(expected, &prod(), user.as_ref(), &label("stripe"), &input("sk_live_12345678"))
        };
        assert!(matches!(put(Expected::Known), Err(AdminError::NotSet)));
        let stored: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| put(Expected::New))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(stored.iter().filter(|stored| matches!(stored, Ok(1))).count(), 1, "{stored:?}");
        assert_eq!(stored.iter().filter(|stored| matches!(stored, Err(AdminError::IsSet))).count(), 5);
        assert_eq!(put(Expected::Known).unwrap(), 2);
        w.store.remove_secret(&prod(), user.as_ref(), &label("stripe"), None).unwrap();
        assert!(matches!(put(Expected::Known), Err(AdminError::NotSet)));
        assert_eq!(put(Expected::New).unwrap(), 3, "it's new again, and its number isn't");
    }
}

#[test]
fn every_realm_is_apart() {
    let w = world();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
    for other in [realm("acme", "dev"), realm("beta", "prod")] {
        assert!(cause(&w.vault, &other, "stripe").contains("no such secret"));
    }
    assert!(w.vault.list(Some(&"beta".parse().unwrap())).unwrap().is_empty());
}

#[test]
fn a_row_that_was_moved_does_not_open() {
    let w = world();
    for (target, name) in [
        (prod(), "stripe"),
        (prod(), "other"),
        (realm("acme", "dev"), "stripe"),
        (realm("beta", "prod"), "stripe"),
    ] {
        w.vault.put(&target, &label(name), &input("placeholder")).unwrap();
    }
    let row = w.store.newest_secret(&prod(), None, &label("stripe")).unwrap().unwrap();
    for (what, moved) in [
        ("tenant", SecretRow { realm: realm("beta", "prod"), ..row.clone() }),
        ("environment", SecretRow { realm: realm("acme", "dev"), ..row.clone() }),
        ("label", SecretRow { label: label("other"), ..row.clone() }),
        ("version", SecretRow { version: 9, ..row.clone() }),
    ] {
        plant(&w.store, &moved);
        let cause = cause(&w.vault, &moved.realm, moved.label.as_str());
        assert!(cause.contains("doesn't open"), "{what}: {cause}");
    }
    assert_eq!(w.vault.check().unwrap().len(), 4);
}

#[test]
fn a_store_that_answers_with_another_labels_row_is_not_believed() {
    let w = world();
    w.vault.put(&prod(), &label("cheap"), &input("sk_live_12345678")).unwrap();
    let row = w.store.newest_secret(&prod(), None, &label("cheap")).unwrap().unwrap();
    assert!(w.vault.unseal(named(&prod(), &label("cheap")), &row).is_ok());
    assert!(w.vault.unseal(named(&prod(), &label("dear")), &row).is_err());
    assert!(w.vault.unseal(named(&realm("acme", "dev"), &label("cheap")), &row).is_err());
}

#[test]
fn secrets_are_decrypted_once_per_version_of_the_store() {
    let w = world();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
    let (realm, stripe) = (prod(), label("stripe"));
    let named = Named { realm: &realm, user: None, label: &stripe };
    let newest = || w.vault.newest(named).ok().unwrap();
    let first = newest();
    assert!(Arc::ptr_eq(&first, &newest()));
    w.vault.remove(&prod(), &label("stripe"), None).unwrap();
    assert!(w.vault.newest(named).is_err(), "a removed secret is gone at once");
}

#[test]
fn a_tenants_key_does_not_open_for_another_tenant() {
    let w = world();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
    w.vault.put(&realm("beta", "prod"), &label("stripe"), &input("sk_live_87654321")).unwrap();
    let (acme, beta) = (&w.store.tenant_keys().unwrap()[0], &w.store.tenant_keys().unwrap()[1]);
    let swapped = TenantKeyRow { tenant: beta.tenant.clone(), ..acme.clone() };
    plant_key(&w.store, &swapped);
    assert!(cause(&w.vault, &realm("beta", "prod"), "stripe").contains("tenant's key doesn't open"));
    assert!(read(&w.vault, &prod(), "stripe").is_ok());
    // The damage of one tenant keeps no other from starting.
    let again = open(&w.store, master(1)).ok().unwrap();
    assert!(read(&again, &prod(), "stripe").is_ok());
    let refused = again.put(&realm("beta", "prod"), &label("new"), &input("sk_live_00000000"));
    assert!(matches!(refused, Err(AdminError::DamagedTenantKey { .. })));
}

#[test]
fn missing_and_damaged_look_alike_to_callers() {
    let w = world();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
    let mut row = w.store.newest_secret(&prod(), None, &label("stripe")).unwrap().unwrap();
    row.ciphertext[20] ^= 1;
    plant(&w.store, &row);
    let damaged = read(&w.vault, &prod(), "stripe").unwrap_err();
    let missing = read(&w.vault, &prod(), "nothing").unwrap_err();
    assert_eq!(damaged.to_string(), missing.to_string());
    assert!(cause(&w.vault, &prod(), "stripe").contains("version 1 doesn't open"));
    let findings = w.vault.check().unwrap();
    assert_eq!((findings.len(), findings[0].version), (1, 1));
}

#[test]
fn a_wrong_master_key_is_told_at_once_even_when_the_vault_is_empty() {
    let w = world();
    for stored in [false, true] {
        if stored {
            w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
        }
        let error = open(&w.store, master(2)).err().unwrap();
        assert!(matches!(&error, AdminError::UnknownMaster { tenant, .. } if tenant.is_some() == stored));
        let text = error.to_string();
        assert!(text.contains(master(1).id()) && text.contains(master(2).id()), "{text}");
    }
}

#[test]
fn a_wrong_passphrase_is_told_apart_from_a_damaged_row() {
    let store = Arc::new(MemoryControl::new());
    let key = |text| MasterKey::from_passphrase(&*store, text).ok().unwrap();
    let vault = open(&store, key("correct horse battery")).ok().unwrap();
    vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
    assert!(matches!(open(&store, key("wrong horse battery")), Err(AdminError::UnknownMaster { .. })));
    let vault = open(&store, key("correct horse battery")).ok().unwrap();
    assert_eq!(read(&vault, &prod(), "stripe").unwrap(), "sk_live_12345678");
}

#[test]
fn of_several_that_open_an_empty_vault_at_once_one_gives_the_master_key() {
    let store = &Arc::new(MemoryControl::new());
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (1..=6).map(|byte| scope.spawn(move || open(store, master(byte)).is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(opened.iter().filter(|opened| **opened).count(), 1);
}

#[test]
fn two_processes_on_one_database_agree_and_leave_nothing_in_clear() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("control.db");
    let process = || {
        let store = Arc::new(crate::store::sqlite::SqliteControl::open(&path).unwrap());
        Vault::open(store, master(1), Arc::new(ManualClock::at(Millis(7)))).ok().unwrap()
    };
    let (host, cli) = (process(), process());
    assert_eq!(cli.put(&prod(), &label("stripe"), &input("sk_live_1_______")).unwrap(), 1);
    assert_eq!(read(&host, &prod(), "stripe").unwrap(), "sk_live_1_______");
    assert_eq!(cli.put(&prod(), &label("stripe"), &input("sk_live_2_______")).unwrap(), 2);
    assert_eq!(read(&host, &prod(), "stripe").unwrap(), "sk_live_2_______");
    cli.remove(&prod(), &label("stripe"), None).unwrap();
    assert!(cause(&host, &prod(), "stripe").contains("no such secret"));
    assert_eq!(cli.put(&prod(), &label("stripe"), &input("sk_live_3_______")).unwrap(), 3);
    for file in std::fs::read_dir(home.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"sk_live_"));
    }
}

#[test]
fn a_note_opens_in_its_place_alone_and_lies_nowhere_in_clear() {
    let World { vault, store } = world();
    let sealed = vault.seal_note(&prod(), "apr_1", b"amount: 12.34").unwrap();
    assert!(!sealed.windows(6).any(|part| part == b"amount"));
    assert_eq!(&**vault.open_note(&prod(), "apr_1", &sealed).unwrap(), b"amount: 12.34");
    vault.seal_note(&realm("beta", "prod"), "apr_1", b"").unwrap();
    for (what, realm, about) in [
        ("another approval", prod(), "apr_2"),
        ("another environment", realm("acme", "dev"), "apr_1"),
        ("another tenant", realm("beta", "prod"), "apr_1"),
        ("a tenant without a key", realm("gamma", "prod"), "apr_1"),
    ] {
        assert!(vault.open_note(&realm, about, &sealed).is_err(), "{what}");
    }
    for at in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[at] ^= 1;
        assert!(vault.open_note(&prod(), "apr_1", &damaged).is_err(), "byte {at}");
        assert!(vault.open_note(&prod(), "apr_1", &sealed[..at]).is_err(), "cut at {at}");
    }
    // A new master key wraps the tenant's key anew; what that sealed stays.
    vault.rotate_master(master(2)).unwrap();
    let again = open(&store, master(2)).ok().unwrap();
    assert_eq!(&**again.open_note(&prod(), "apr_1", &sealed).unwrap(), b"amount: 12.34");
}

#[test]
fn the_newest_version_is_told_without_opening_it() {
    let World { vault, .. } = world();
    assert_eq!(vault.newest_version(&prod(), None, &label("stripe")).unwrap(), None);
    vault.put(&prod(), &label("stripe"), &input("sk_live_0001")).unwrap();
    vault.put(&prod(), &label("stripe"), &input("sk_live_0002")).unwrap();
    assert_eq!(vault.newest_version(&prod(), None, &label("stripe")).unwrap(), Some(2));
}

fn user(text: &str) -> UserId {
    text.parse().unwrap()
}

/// A user's newest secret as text, if it can be had.
fn own(vault: &Vault, realm: &Realm, who: &str, name: &str) -> Option<String> {
    let secret = vault.newest(Named { realm, user: Some(&user(who)), label: &label(name) }).ok()?;
    Some(String::from_utf8(secret.expose().to_vec()).unwrap())
}

#[test]
fn users_and_operators_secrets_of_one_label_are_apart() {
    let w = world();
    let (realm, github) = (prod(), label("github"));
    w.vault.put(&realm, &github, &input("ghp_operator")).unwrap();
    assert_eq!(w.vault.put_own(&realm, &user("ann"), &github, &input("ghp_of_ann")).unwrap(), 1);
    assert_eq!(w.vault.put_own(&realm, &user("bob"), &github, &input("ghp_of_bob")).unwrap(), 1);
    assert_eq!(read(&w.vault, &realm, "github").unwrap(), "ghp_operator");
    assert_eq!(own(&w.vault, &realm, "ann", "github").unwrap(), "ghp_of_ann");
    assert_eq!(own(&w.vault, &realm, "bob", "github").unwrap(), "ghp_of_bob");
    for (who, name) in [("cid", "github"), ("ann", "gitlab"), ("ann:github", "github"), ("Ann", "github")] {
        assert_eq!(own(&w.vault, &realm, who, name), None, "{who} {name}");
    }
    for elsewhere in [self::realm("beta", "prod"), self::realm("acme", "dev")] {
        assert_eq!(own(&w.vault, &elsewhere, "ann", "github"), None);
    }
    // An operator's label that looks like a user's secret is an operator's label.
    w.vault.put(&realm, &label("ann:github"), &input("ghp_forged_")).unwrap();
    assert_eq!(own(&w.vault, &realm, "ann", "github").unwrap(), "ghp_of_ann");
    assert_eq!(w.vault.remove(&realm, &github, None).unwrap(), 1);
    assert_eq!(own(&w.vault, &realm, "ann", "github").unwrap(), "ghp_of_ann");
    assert_eq!(w.vault.remove_own(&realm, &user("ann"), &github, None).unwrap(), 1);
    assert_eq!(own(&w.vault, &realm, "ann", "github"), None, "a removed secret is gone at once");
    assert_eq!(own(&w.vault, &realm, "bob", "github").unwrap(), "ghp_of_bob");
}

#[test]
fn a_row_that_is_moved_to_another_user_does_not_open() {
    let w = world();
    let (realm, github) = (prod(), label("github"));
    w.vault.put_own(&realm, &user("ann"), &github, &input("ghp_of_ann")).unwrap();
    w.vault.put_own(&realm, &user("bob"), &github, &input("ghp_of_bob")).unwrap();
    w.vault.put(&realm, &github, &input("ghp_operator")).unwrap();
    let ann = w.store.newest_secret(&realm, Some(&user("ann")), &github).unwrap().unwrap();
    let operators = w.store.newest_secret(&realm, None, &github).unwrap().unwrap();
    plant(&w.store, &SecretRow { user: Some(user("bob")), ..ann.clone() });
    assert_eq!(own(&w.vault, &realm, "bob", "github"), None);
    plant(&w.store, &SecretRow { user: None, ..ann });
    assert!(matches!(read(&w.vault, &realm, "github"), Err(VaultError::NoSecret { .. })));
    plant(&w.store, &SecretRow { user: Some(user("ann")), ..operators });
    assert_eq!(own(&w.vault, &realm, "ann", "github"), None);
    let found: Vec<_> = w.vault.check().unwrap().into_iter().map(|f| f.user).collect();
    assert_eq!(found, [None, Some(user("ann")), Some(user("bob"))]);
}

#[test]
fn a_user_s_new_secret_takes_the_place_of_the_old_one_and_no_number_comes_twice() {
    let w = world();
    let (realm, ann, github) = (prod(), user("ann"), label("github"));
    w.vault.put_own(&realm, &ann, &github, &input("ghp_first_1")).unwrap();
    let version = w.vault.put_own(&realm, &ann, &github, &input("ghp_second_")).unwrap();
    w.vault.keep_own(&realm, &ann, &github, version).unwrap();
    let versions: Vec<_> = w.vault.own(&realm, &ann).unwrap().iter().map(|info| info.version).collect();
    assert_eq!(versions, [2]);
    assert_eq!(w.vault.remove_own(&realm, &ann, &github, None).unwrap(), 1);
    assert_eq!(w.vault.put_own(&realm, &ann, &github, &input("ghp_third__")).unwrap(), 3);
    w.vault.put_own(&realm, &ann, &label("gitlab"), &input("glp_1234567")).unwrap();
    w.vault.keep_own(&realm, &ann, &github, 3).unwrap();
    assert_eq!(w.vault.own(&realm, &ann).unwrap().len(), 2, "another label's stay");
}

#[test]
fn of_two_that_are_stored_at_once_the_newer_one_stays() {
    let (realm, ann, github) = (prod(), user("ann"), label("github"));
    for order in [[1, 2], [2, 1]] {
        let w = world();
        assert_eq!(w.vault.put_own(&realm, &ann, &github, &input("ghp_first_1")).unwrap(), 1);
        assert_eq!(w.vault.put_own(&realm, &ann, &github, &input("ghp_second_")).unwrap(), 2);
        for version in order {
            w.vault.keep_own(&realm, &ann, &github, version).unwrap();
        }
        let versions: Vec<_> = w.vault.own(&realm, &ann).unwrap().iter().map(|info| info.version).collect();
        assert_eq!(versions, [2], "{order:?}");
        assert_eq!(own(&w.vault, &realm, "ann", "github").unwrap(), "ghp_second_", "{order:?}");
    }
}

#[test]
fn a_user_has_so_many_secrets_and_no_more() {
    let w = world();
    let put = |who: &str, n: usize| {
        w.vault.put_own(&prod(), &user(who), &label(&format!("l{n}")), &input("12345678"))
    };
    (0..OWN_LABELS_MAX).for_each(|n| assert_eq!(put("ann", n).unwrap(), 1));
    assert!(matches!(put("ann", OWN_LABELS_MAX), Err(AdminError::TooManyOwn)));
    assert_eq!(put("ann", 0).unwrap(), 2, "what is there can be replaced");
    assert_eq!(put("bob", 0).unwrap(), 1);
}
