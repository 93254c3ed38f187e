//! Another master key, while others are at work.

use super::*;

#[test]
fn a_rotation_leaves_every_secret_readable_all_the_time() {
    let w = world();
    for tenant in ["acme", "beta"] {
        w.vault.put(&realm(tenant, "prod"), &label("stripe"), &input("sk_live_12345678")).unwrap();
    }
    let running = open(&w.store, MasterKeys::from(master(1)).and(master(2))).ok().unwrap();
    let rotated = w.vault.rotate_master(master(2)).unwrap();
    assert_eq!((rotated.tenants, rotated.to.as_str()), (2, master(2).id()));
    for vault in [&running, &w.vault, &open(&w.store, master(2)).ok().unwrap()] {
        assert_eq!(read(vault, &realm("beta", "prod"), "stripe").unwrap(), "sk_live_12345678");
    }
    assert!(matches!(open(&w.store, master(1)), Err(AdminError::UnknownMaster { .. })));
    assert!(matches!(w.vault.rotate_master(master(2)), Err(AdminError::SameMaster)));
}

#[test]
fn a_host_that_does_not_know_the_new_master_key_says_what_to_do() {
    let w = world();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
    let running = open(&w.store, master(1)).ok().unwrap();
    w.vault.rotate_master(master(2)).unwrap();
    let cause = cause(&running, &prod(), "stripe");
    assert!(
        cause.contains(master(2).id()) && cause.contains("start the host with the key now in use"),
        "{cause}"
    );
}

#[test]
fn a_rotation_of_a_vault_with_a_damaged_key_changes_nothing() {
    let w = world();
    for tenant in ["acme", "beta"] {
        w.vault.put(&realm(tenant, "prod"), &label("stripe"), &input("sk_live_12345678")).unwrap();
    }
    let mut damaged = w.store.tenant_key(&"beta".parse().unwrap()).unwrap().unwrap();
    damaged.wrapped[15] ^= 1;
    plant_key(&w.store, &damaged);
    let before = w.store.tenant_keys().unwrap();
    assert!(matches!(w.vault.rotate_master(master(2)), Err(AdminError::DamagedTenantKey { .. })));
    assert_eq!(w.store.tenant_keys().unwrap(), before);
    assert!(read(&w.vault, &prod(), "stripe").is_ok());
}

#[test]
fn hosts_on_a_key_file_follow_a_rotation_by_themselves() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master.key");
    let store = Arc::new(MemoryControl::new());
    let first = MasterKey::create_file(&path).ok().unwrap().id().to_owned();
    let from_file = || open(&store, MasterKeys::from_file(&path).ok().unwrap()).ok().unwrap();
    let (running, cli) = (from_file(), from_file());
    cli.put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
    for round in 0..3 {
        let rotated = cli.rotate_master_file().unwrap();
        assert_eq!((rotated.from == first, rotated.tenants), (round == 0, 1));
        assert_eq!(read(&running, &prod(), "stripe").unwrap(), "sk_live_12345678");
    }
    // Another process's view is as old as the start; the file isn't.
    running.rotate_master_file().unwrap();
    assert_eq!(read(&from_file(), &prod(), "stripe").unwrap(), "sk_live_12345678");
}

#[test]
fn a_rotation_that_was_cut_short_is_completed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master.key");
    let store = Arc::new(MemoryControl::new());
    let first = MasterKey::create_file(&path).ok().unwrap().id().to_owned();
    let from_file = || open(&store, MasterKeys::from_file(&path).ok().unwrap()).ok().unwrap();
    from_file().put(&prod(), &label("stripe"), &input("sk_live_12345678")).unwrap();
    // The new key is in the file, and then the power goes.
    let second = key_file::replace(&path).ok().unwrap().id().to_owned();
    let vault = from_file();
    assert_eq!(read(&vault, &prod(), "stripe").unwrap(), "sk_live_12345678");
    assert_eq!(vault.on_other_masters().unwrap(), [prod().tenant]);
    let rotated = vault.rotate_master_file().unwrap();
    assert_eq!((rotated.from, rotated.tenants), (first, 1));
    assert_ne!(rotated.to, second, "it's completed, and then there's a new one");
    assert!(vault.on_other_masters().unwrap().is_empty());
    assert!(
        open(&store, MasterKey::from_file(&path).ok().unwrap()).is_ok(),
        "the key before isn't needed any more"
    );
}

#[test]
fn after_a_rotation_nothing_is_wrapped_by_the_key_before() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master.key");
    let store = Arc::new(MemoryControl::new());
    MasterKey::create_file(&path).ok().unwrap();
    let from_file = || open(&store, MasterKeys::from_file(&path).ok().unwrap()).ok().unwrap();
    let (running, cli) = (from_file(), from_file());
    let wrapped_by = |tenant: &str| store.tenant_key(&tenant.parse().unwrap()).unwrap().unwrap().master;
    for (secret_of, note_of) in [("acme", "beta"), ("gamma", "delta")] {
        let to = cli.rotate_master_file().unwrap().to;
        running.put(&realm(secret_of, "prod"), &label("stripe"), &input("sk_live_12345678")).unwrap();
        running.seal_note(&realm(note_of, "prod"), "apr_1", b"").unwrap();
        assert_eq!([wrapped_by(secret_of), wrapped_by(note_of)], [to.clone(), to]);
    }
    assert!(open(&store, MasterKey::from_file(&path).ok().unwrap()).is_ok(), "the new file alone opens it");
}

#[test]
fn who_does_not_know_the_key_in_use_gives_no_tenant_one() {
    let w = world();
    let (without, with) =
        (open(&w.store, master(1)), open(&w.store, MasterKeys::from(master(1)).and(master(2))));
    let (without, with) = (without.ok().unwrap(), with.ok().unwrap());
    w.vault.rotate_master(master(2)).unwrap();
    let put = |vault: &Vault| vault.put(&prod(), &label("stripe"), &input("sk_live_12345678"));
    assert!(matches!(put(&without), Err(AdminError::UnknownMaster { tenant: None, .. })));
    assert!(matches!(without.check_in_use(), Err(AdminError::UnknownMaster { .. })));
    assert!(w.store.tenant_keys().unwrap().is_empty());
    with.check_in_use().unwrap();
    put(&with).unwrap();
    assert_eq!(w.store.tenant_keys().unwrap()[0].master, master(2).id());
    // It may be started again as it was: the store says which key is in use.
    let again = open(&w.store, MasterKeys::from(master(1)).and(master(2))).ok().unwrap();
    again.put(&realm("beta", "prod"), &label("stripe"), &input("sk_live_12345678")).unwrap();
    assert_eq!(w.store.tenant_keys().unwrap()[1].master, master(2).id());
}

#[test]
fn a_tenant_that_was_left_behind_is_taken_along_by_the_next_rotation() {
    let w = world();
    for tenant in ["acme", "beta"] {
        w.vault.put(&realm(tenant, "prod"), &label("stripe"), &input("sk_live_12345678")).unwrap();
    }
    let left = w.store.tenant_key(&"beta".parse().unwrap()).unwrap().unwrap();
    w.vault.rotate_master(master(2)).unwrap();
    plant_key(&w.store, &left);
    let both = open(&w.store, MasterKeys::from(master(2)).and(master(1))).ok().unwrap();
    assert_eq!(both.on_other_masters().unwrap(), [realm("beta", "prod").tenant]);
    both.rotate_master(master(2)).unwrap();
    assert!(both.on_other_masters().unwrap().is_empty());
    assert!(open(&w.store, master(2)).is_ok());
}

#[test]
fn the_key_before_and_a_copy_of_the_database_open_nothing_that_is_stored_later() {
    let w = world();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_1_______")).unwrap();
    let copied = w.store.tenant_key(&prod().tenant).unwrap().unwrap();
    let stolen = master(1).unwrap(&prod().tenant, &copied).ok().unwrap();
    let opens = || {
        let row = w.store.newest_secret(&prod(), None, &label("stripe")).unwrap().unwrap();
        stolen
            .unwrap(&Place::data_key(named(&prod(), &label("stripe")), row.version), &row.wrapped_key)
            .is_ok()
    };
    assert!(opens());
    w.vault.rotate_master(master(2)).unwrap();
    w.vault.put(&prod(), &label("stripe"), &input("sk_live_2_______")).unwrap();
    assert!(!opens());
    assert_eq!(read(&w.vault, &prod(), "stripe").unwrap(), "sk_live_2_______");
    w.vault.remove(&prod(), &label("stripe"), Some(2)).unwrap();
    assert_eq!(read(&w.vault, &prod(), "stripe").unwrap(), "sk_live_1_______", "what was there before opens");
}

#[test]
fn a_key_that_is_in_no_file_is_not_rotated_there() {
    assert!(matches!(world().vault.rotate_master_file(), Err(AdminError::NotInAFile)));
}

#[test]
fn users_secrets_outlive_another_master_key() {
    let w = world();
    w.vault.put_own(&prod(), &user("ann"), &label("github"), &input("ghp_of_ann")).unwrap();
    w.vault.rotate_master(master(2)).unwrap();
    assert_eq!(own(&w.vault, &prod(), "ann", "github").unwrap(), "ghp_of_ann");
    let again = open(&w.store, master(2)).ok().unwrap();
    assert_eq!(own(&again, &prod(), "ann", "github").unwrap(), "ghp_of_ann");
}
