//! A host that can't start: whoever starts it reads one clear sentence.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;

use tempfile::TempDir;

use crate::host::{Host, PATIENCE, kb, program, sentence, succeed};

/// Who owns nothing.
const NOBODY: u32 = 65534;

#[test]
fn a_port_that_is_taken_is_named() {
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("home");
    succeed(kb(&home, &["init"]));
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let error = sentence(&kb(&home, &["serve", "--listen", &addr]).output().unwrap());
    assert!(
        error.contains(&format!("{addr} is taken by another program; listen on another port")),
        "{error}"
    );
}

#[test]
fn two_hosts_do_not_serve_from_one_home() {
    let host = Host::new();
    let (program, _) = host.serve();
    let error = sentence(&kb(&host.home(), &["serve", "--listen", "127.0.0.1:0"]).output().unwrap());
    assert!(error.contains("another host serves from"), "{error}");
    program.stop(PATIENCE).unwrap();
}

#[test]
fn a_damaged_file_is_named() {
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("home");
    succeed(kb(&home, &["init"]));
    for (file, damaged, expected) in [
        ("keybearer.toml", "listen = 5\n", "keybearer.toml:1:10: invalid type: integer `5`"),
        ("keybearer.toml", "liste = \"x\"\n", "keybearer.toml:1:1: unknown field `liste`, expected one of"),
        ("control.db", "this is no database, and long enough to be one", "control.db"),
        ("audit.db", "this is no database, and long enough to be one", "audit.db"),
        ("master.key", "short", "holds no master key: a key is 64 hexadecimal digits"),
    ] {
        let path = home.join(file);
        let sound = fs::read(&path).unwrap();
        fs::write(&path, damaged).unwrap();
        let error = sentence(&kb(&home, &["serve", "--listen", "127.0.0.1:0"]).output().unwrap());
        assert!(error.contains(expected), "{file}: {error}");
        fs::write(&path, sound).unwrap();
    }
}

#[test]
fn a_home_that_is_read_only_is_named() {
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("home");
    // Root may write everywhere, so it takes another user for a home that is read-only.
    let is_root = fs::metadata(dir.path()).unwrap().uid() == 0;
    let copy = dir.path().join("keybearer");
    if is_root {
        let original = env!("CARGO_BIN_EXE_keybearer");
        // A link, where there can be one: a file that was just written may be busy.
        fs::hard_link(original, &copy).or_else(|_| fs::copy(original, &copy).map(drop)).unwrap();
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let run = |arguments: &[&str]| {
        if is_root {
            let mut command = program(&copy, &home, arguments);
            command.current_dir(dir.path()).uid(NOBODY).gid(NOBODY);
            command
        } else {
            kb(&home, arguments)
        }
    };
    succeed(run(&["init"]));
    fs::set_permissions(&home, fs::Permissions::from_mode(0o500)).unwrap();
    let serve = run(&["serve", "--listen", "127.0.0.1:0"]).output();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let error = sentence(&serve.unwrap());
    assert!(error.contains("control.db") && error.contains("read-only"), "{error}");
}
