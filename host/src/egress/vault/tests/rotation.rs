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

/// Stores a secret of each of two tenants, and damages the key of `beta`.
fn damage(store: &MemoryControl, vault: &Vault) {
    for tenant in ["acme", "beta"] {
        vault.put(&realm(tenant, "prod"), &label("stripe"), &input("sk_live_12345678")).unwrap();
    }
    let mut damaged = store.tenant_key(&"beta".parse().unwrap()).unwrap().unwrap();
    damaged.wrapped.fill(0);
    plant_key(store, &damaged);
}

#[test]
fn a_damaged_key_keeps_no_other_tenant_on_the_master_key_before() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master.key");
    let store = Arc::new(MemoryControl::new());
    drop(MasterKey::create_file(&path).ok().unwrap());
    let from_file = || open(&store, MasterKeys::from_file(&path).ok().unwrap()).ok().unwrap();
    damage(&store, &from_file());
    // Also where an earlier run has put the next key into the file and went no further.
    for is_cut_short in [false, true] {
        if is_cut_short {
            drop(key_file::replace(&path).ok().unwrap());
        }
        let rotated = from_file().rotate_master_file().unwrap();
        assert_eq!((rotated.tenants, rotated.damaged), (1, vec![realm("beta", "prod").tenant]));
        let alone = open(&store, MasterKey::from_file(&path).ok().unwrap()).ok().unwrap();
        assert_eq!(read(&alone, &prod(), "stripe").unwrap(), "sk_live_12345678", "{is_cut_short}");
        alone.check_in_use().unwrap();
        assert!(alone.on_other_masters().unwrap().is_empty());
        assert!(cause(&alone, &realm("beta", "prod"), "stripe").contains("the row is damaged"));
    }
}

#[test]
fn a_tenant_whose_key_is_damaged_gets_another_and_nobody_else_does() {
    let w = world();
    damage(&w.store, &w.vault);
    let (acme, beta) = (prod(), realm("beta", "prod"));
    let put = || w.vault.put(&beta, &label("stripe"), &input("sk_live_87654321"));
    let error = put().unwrap_err().to_string();
    assert!(error.contains("`keybearer vault replace-key beta`"), "{error}");
    w.vault.replace_damaged_key(&beta.tenant).unwrap();
    assert!(cause(&w.vault, &beta, "stripe").contains("the data key of version 1 doesn't open"));
    assert_eq!(put().unwrap(), 2);
    assert_eq!(read(&w.vault, &beta, "stripe").unwrap(), "sk_live_87654321");
    let before = w.store.tenant_keys().unwrap();
    for tenant in [&acme.tenant, &beta.tenant, &realm("gamma", "prod").tenant] {
        assert!(matches!(w.vault.replace_damaged_key(tenant), Err(AdminError::NotDamaged(_))), "{tenant}");
    }
    assert_eq!(w.store.tenant_keys().unwrap(), before);
    assert_eq!(read(&w.vault, &acme, "stripe").unwrap(), "sk_live_12345678");
}

#[test]
fn a_rotation_whose_keys_were_stored_and_not_its_id_is_completed_by_whoever_opens_the_vault() {
    let w = world();
    for tenant in ["acme", "beta"] {
        w.vault.put(&realm(tenant, "prod"), &label("stripe"), &input("sk_live_12345678")).unwrap();
    }
    let before = w.store.tenant_keys().unwrap();
    w.vault.rotate_master(master(2)).unwrap();
    let after = w.store.tenant_keys().unwrap();
    w.store.replace_tenant_keys(&after, &after, MASTER_ID, master(1).id()).unwrap();
    open(&w.store, master(2)).ok().unwrap().check_in_use().unwrap();
    assert_eq!(w.vault.in_use().unwrap(), master(2).id());
    // Where the keys are wrapped by several, none of them is taken for the one in use.
    w.store.replace_tenant_keys(&after, &before[1..], MASTER_ID, "mk_another").unwrap();
    let both = open(&w.store, MasterKeys::from(master(1)).and(master(2))).ok().unwrap();
    assert!(matches!(both.check_in_use(), Err(AdminError::UnknownMaster { .. })));
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
