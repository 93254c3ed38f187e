use std::fs;

use super::*;
use crate::cli::init;
use crate::egress::{MasterKey, SecretInput};
use crate::ids::Realm;

fn home() -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::named(Some(dir.path().to_owned())).unwrap();
    let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
    drop(init::make(home.clone(), realm).unwrap());
    (dir, home)
}

/// The problems of this part.
fn problems(home: &Home, part: &str) -> Vec<String> {
    let found = look(home, &Out::new(false)).into_iter().filter(|(of, _)| *of == part);
    found.filter_map(|(_, finding)| if let Problem(text) = finding { Some(text) } else { None }).collect()
}

fn opened(home: &Home) -> Opened {
    Opened::open(Some(home.root().to_owned())).unwrap()
}

fn store_a_secret(home: &Home, tenant: &str) {
    let realm = Realm { tenant: tenant.parse().unwrap(), environment: "prod".parse().unwrap() };
    let secret = SecretInput::read(&b"sk_live_12345678"[..]).unwrap();
    opened(home).vault().unwrap().put(&realm, &"stripe".parse().unwrap(), &secret).unwrap();
}

/// Whether there's a warning about the vault that says this.
fn is_warned(home: &Home, of: &str) -> bool {
    is_warned_about("vault", home, of)
}

fn is_warned_about(part: &str, home: &Home, of: &str) -> bool {
    let warns = |(about, finding): &(&str, Finding)| {
        *about == part && matches!(finding, Warning(text) if text.contains(of))
    };
    look(home, &Out::new(false)).iter().any(warns)
}

#[test]
fn nothing_is_said_of_secrets_that_nobody_can_look_up() {
    let (_dir, home) = home();
    let text = "base_url = \"https://api.example.com\"\nsecret = \"k\"\nattach = { kind = \"bearer\" }\n\
         [operations.get]\nrequest = \"GET /x\"\neffect = \"read\"\n";
    fs::write(home.connections_dir().join("upstream.toml"), text).unwrap();
    let warned = || is_warned_about("connections", &home, "which no realm has");
    assert!(warned());
    fs::write(home.root().join("master.key"), "short").unwrap();
    assert_eq!(problems(&home, "vault").len(), 1);
    assert!(!warned(), "the vault can't be opened, and that is all");
}

#[test]
fn a_rotation_to_the_next_master_key_is_completed_in_the_configuration() {
    let (_dir, home) = home();
    store_a_secret(&home, "acme");
    let configure = |name: &str| {
        fs::write(home.config_file(), format!("[master_key]\nnext_passphrase_env = \"{name}\"\n")).unwrap();
    };
    configure("KEYBEARER_TEST_NOBODY_SETS_THIS");
    assert!(is_warned(&home, "isn't set here"));
    // It has to be a variable that's set here.
    let name = "CARGO_MANIFEST_DIR";
    configure(name);
    let opened = opened(&home);
    assert!(!is_warned(&home, "[master_key]"));
    let next = MasterKey::from_passphrase(opened.control.as_ref(), &std::env::var(name).unwrap()).unwrap();
    opened.vault().unwrap().rotate_master(next).unwrap();
    assert!(is_warned(&home, "name it as the first") && !is_warned(&home, "rotate-master"));
}

#[test]
fn a_master_key_in_use_that_is_not_at_hand_is_a_problem() {
    let (_dir, home) = home();
    for tenant in ["acme", "beta"] {
        store_a_secret(&home, tenant);
    }
    assert_eq!(problems(&home, "vault"), [""; 0]);
    let key = home.root().join("master.key");
    fs::rename(&key, home.root().join("master.key.previous")).unwrap();
    let next = MasterKey::create_file(&key).unwrap();
    let (opened, gone) = (opened(&home), MasterKey::for_tests(9).id().to_owned());
    let mut left = opened.control.tenant_keys().unwrap();
    opened.vault().unwrap().rotate_master(MasterKey::for_tests(9)).unwrap();
    // Each tenant's key names another one that is at hand.
    left[1].master = next.id().to_owned();
    let rotated = opened.control.tenant_keys().unwrap();
    opened.control.replace_tenant_keys(&rotated, &left, "any", "").unwrap();
    let found = problems(&home, "vault");
    assert!(matches!(&found[..], [said] if said.contains(&gone)), "{found:?}");
}

#[test]
fn a_rotation_of_the_master_key_that_was_cut_short_is_a_warning() {
    let (_dir, home) = home();
    let warned = || is_warned(&home, "rotate-master");
    let vault = || opened(&home).vault().unwrap();
    store_a_secret(&home, "acme");
    assert!(!warned());
    // The next key is in the file, and nothing is wrapped by it.
    let key = home.root().join("master.key");
    fs::rename(&key, home.root().join("master.key.previous")).unwrap();
    drop(MasterKey::create_file(&key).unwrap());
    assert!(warned());
    vault().rotate_master_file().unwrap();
    assert!(!warned());
}

#[test]
fn what_serve_would_refuse_is_a_problem() {
    for (file, text, part, expected) in [
        ("keybearer.toml", "listen = 5\n", "configuration", "invalid type"),
        ("budgets.toml", "[[budget]]\nsubject = \"tenant\"\n", "budgets", "budgets.toml"),
        (
            "keybearer.toml",
            "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n",
            "tls",
            "cert.pem can't be used as the listener's certificate chain",
        ),
        ("master.key", "short", "vault", "holds no master key"),
        ("control.db", "", "database", "control.db is gone, or empty"),
        ("audit.db", "", "audit trail", "audit.db is gone, or empty"),
    ] {
        let (_dir, home) = home();
        assert_eq!(problems(&home, part), [""; 0], "{file}");
        fs::write(home.root().join(file), text).unwrap();
        let found = problems(&home, part);
        assert!(!found.is_empty() && found.iter().all(|said| said.contains(expected)), "{file}: {found:?}");
        let done = Doctor {}.run(Some(home.root().to_owned()), &Out::new(false)).unwrap();
        assert_eq!(done, Done::Problems, "{file}");
    }
}

#[test]
fn a_certificate_that_is_none_is_a_problem() {
    let (_dir, home) = home();
    let tls = "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";
    fs::write(home.config_file(), tls).unwrap();
    for name in ["cert.pem", "key.pem"] {
        fs::write(home.root().join(name), "no PEM").unwrap();
    }
    assert_eq!(problems(&home, "tls").len(), 1);
}

#[test]
fn a_damaged_page_of_either_database_is_a_problem() {
    for (file, table, part) in
        [("control.db", "kills", "database"), ("audit.db", "ledger_writes", "audit trail")]
    {
        let (_dir, home) = home();
        let path = home.root().join(file);
        let database = rusqlite::Connection::open(&path).unwrap();
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let page: u32 = database.query_row(sql, [table], |row| row.get(0)).unwrap();
        drop(database);
        let (page, mut bytes) = (usize::try_from(page).unwrap(), fs::read(&path).unwrap());
        bytes[(page - 1) * 4096..page * 4096].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let found = problems(&home, part);
        assert!(found.iter().any(|said| said.contains("the database is damaged")), "{file}: {found:?}");
    }
}
