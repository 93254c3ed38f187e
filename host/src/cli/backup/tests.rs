use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::audit;
use crate::auth::Minted;
use crate::cli::context::Opened;
use crate::cli::init;
use crate::ids::Realm;

fn backup(home: &Home, to: &Path) -> anyhow::Result<()> {
    Backup { folder: to.to_owned() }.run(Some(home.root().to_owned()), &Out::new(false)).map(|_| ())
}

fn made(root: &Path) -> (Home, Opened, Minted) {
    let home = Home::named(Some(root.to_owned())).unwrap();
    let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
    let (opened, minted) = init::make(home.clone(), realm).unwrap();
    (home, opened, minted)
}

#[test]
fn a_home_that_is_written_to_is_copied_and_the_copy_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let copied = dir.path().join("copy");
    let (home, opened, minted) = made(&dir.path().join("home"));
    fs::create_dir(home.connections_dir().join("more")).unwrap();
    fs::write(home.connections_dir().join("more/ca.pem"), "a").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                opened.record(None, "test", "something").unwrap();
            }
        });
        let result = backup(&home, &copied);
        done.store(true, Ordering::Relaxed);
        writing.join().unwrap();
        result.unwrap();
    });

    let entries = fs::read_dir(&copied).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = ["audit.db", "connections", "control.db", "keybearer.toml", "policies", "tools"];
    assert_eq!(names, expected, "neither the master key nor a cache");
    for (name, mode) in
        [("", 0o700), ("audit.db", 0o600), ("control.db", 0o600), ("connections/more/ca.pem", 0o600)]
    {
        let found = fs::metadata(copied.join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    let error = backup(&home, &copied).unwrap_err().to_string();
    assert!(error.ends_with("name a folder to be made"), "{error}");

    // As the documentation says it's put back: with the master key of that time.
    fs::copy(home.root().join("master.key"), copied.join("master.key")).unwrap();
    let restored = Opened::open(Some(copied)).unwrap();
    restored.vault().unwrap();
    assert_eq!(restored.control.token_by_id(&minted.row.id).unwrap(), Some(minted.row));
    let trail = restored.audit_store().unwrap();
    trail.check_pages().unwrap();
    assert!(audit::verify(&*trail, None).unwrap().head.seq >= 1);
    restored.record(None, "test", "after").unwrap();
}

#[test]
fn a_copy_that_was_cut_short_is_no_home() {
    let dir = tempfile::tempdir().unwrap();
    let copied = dir.path().join("copy");
    let (home, ..) = made(&dir.path().join("home"));
    symlink("nowhere", home.policies_dir().join("gone.cedar")).unwrap();
    let error = format!("{:#}", backup(&home, &copied).unwrap_err());
    assert!(error.contains("can't copy") && error.contains("policies/gone.cedar"), "{error}");
    assert!(Home::named(Some(copied)).unwrap().existing().is_err());
}

#[test]
fn a_home_is_not_copied_into_itself_by_whatever_path() {
    let dir = tempfile::tempdir().unwrap();
    let (root, linked, shared) =
        (dir.path().join("home"), dir.path().join("linked"), dir.path().join("shared"));
    let (home, ..) = made(&root);
    fs::rename(home.connections_dir(), &shared).unwrap();
    symlink(&shared, home.connections_dir()).unwrap();
    symlink(&root, &linked).unwrap();
    let by_link = Home::named(Some(linked)).unwrap();
    for (home, place) in [
        (&home, root.join("x")),
        (&home, root.join("tools/x")),
        (&home, dir.path().join("shared/../home/policies/x")),
        (&home, shared.join("x")),
        (&by_link, root.join("tools/x")),
    ] {
        let error = backup(home, &place).unwrap_err().to_string();
        assert!(error.ends_with("elsewhere"), "{error}");
        assert!(!place.exists(), "{}", place.display());
    }
    backup(&by_link, &dir.path().join("copy")).unwrap();
}

#[test]
fn the_master_key_stays_out_wherever_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let copied = dir.path().join("copy");
    let (home, ..) = made(&dir.path().join("home"));
    let (connections, policies) = (home.connections_dir(), home.policies_dir());
    fs::rename(home.root().join("master.key"), connections.join("k.key")).unwrap();
    fs::write(home.config_file(), "[master_key]\nfile = \"connections/k.key\"\n").unwrap();
    for name in ["k.key.previous", "k.key.lock", ".k.key.previous.Ab12Cd.new", "k.key.pem"] {
        fs::write(connections.join(name), "").unwrap();
    }
    symlink("../connections/k.key", policies.join("link")).unwrap();
    backup(&home, &copied).unwrap();
    assert_eq!(names(&copied.join("connections")).unwrap(), ["k.key.pem"]);
    assert_eq!(names(&copied.join("policies")).unwrap(), ["start.cedar"]);
}

#[test]
fn limits_that_can_not_be_read_are_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (home, ..) = made(&dir.path().join("home"));
    symlink("nowhere", home.budgets_file()).unwrap();
    let error = format!("{:#}", backup(&home, &dir.path().join("copy")).unwrap_err());
    assert!(error.contains("budgets.toml: No such file"), "{error}");
}

#[test]
fn links_that_lead_back_and_pipes_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    // Where it lies may be changed by its owner alone, as of whatever a home leads to.
    let around = dir.path().join("around");
    let (copied, shared) = (around.join("copy"), around.join("shared"));
    DirBuilder::new().mode(0o700).recursive(true).create(&shared).unwrap();
    let (home, ..) = made(&around.join("home"));
    let connections = home.connections_dir();
    fs::write(shared.join("ca.pem"), "a").unwrap();
    symlink(".", home.policies_dir().join("again")).unwrap();
    symlink(&connections, shared.join("above")).unwrap();
    symlink(&around, home.tools_dir().join("all")).unwrap();
    for name in ["one", "two"] {
        symlink(&shared, connections.join(name)).unwrap();
    }
    assert!(Command::new("mkfifo").arg(connections.join("pipe")).status().unwrap().success());
    backup(&home, &copied).unwrap();
    assert_eq!(names(&copied.join("policies")).unwrap(), ["start.cedar"]);
    for name in ["one", "two"] {
        assert_eq!(names(&copied.join("connections").join(name)).unwrap(), ["ca.pem"], "{name}");
    }
    assert_eq!(names(&copied.join("connections")).unwrap().len(), 2, "without the pipe");
    assert!(!copied.join("tools/all/copy").exists(), "without itself");
}

#[test]
fn a_file_that_is_gone_since_it_was_listed_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut copying = Copying { key: None, within: Vec::new() };
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("here"), "").unwrap();
    let copied = dir.path().join("copied");
    copying.copy_folder(&folder, &["gone", "here"].map(OsString::from), &copied).unwrap();
    assert_eq!(names(&copied).unwrap(), ["here"]);
}
