//! A host that can't start: whoever starts it reads one clear sentence.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

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

/// A folder that belongs to nobody, with a copy of the program that runs there; `None` where there can't be one, as in a
/// container that has no such user. What is made in TMPDIR may be closed to others, and so may the program itself.
fn nobodys_folder() -> Option<TempDir> {
    ["/tmp", "/dev/shm"].into_iter().find_map(|parent| {
        let dir = TempDir::new_in(parent).ok()?;
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).ok()?;
        // A process of its own writes it: a file that is open for writing in this one is busy.
        let mut copy = Command::new("install");
        copy.args(["-m", "755", env!("CARGO_BIN_EXE_keybearer")]).arg(dir.path());
        let is_well = |mut command: Command| command.output().is_ok_and(|output| output.status.success());
        (is_well(copy) && is_well(as_nobody(dir.path(), &["--version"]))).then_some(dir)
    })
}

/// The program's copy in nobody's folder, with a home beside it.
fn as_nobody(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = program(&dir.join("keybearer"), &dir.join("home"), arguments);
    command.current_dir(dir).uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn a_home_that_is_read_only_is_named() {
    let own = TempDir::new().unwrap();
    // Root may write everywhere, so it takes another user for a home that is read-only.
    let is_root = fs::metadata(own.path()).unwrap().uid() == 0;
    let dir = if is_root { nobodys_folder() } else { Some(own) };
    let Some(dir) = dir else {
        eprintln!("skipped: root can't run a program here as the user {NOBODY}");
        return;
    };
    let home = dir.path().join("home");
    let run = |arguments: &[&str]| {
        if is_root { as_nobody(dir.path(), arguments) } else { kb(&home, arguments) }
    };
    succeed(run(&["init"]));
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // A folder that can't be written, and a disk of which nothing can be.
    for mode in [0o600, 0o400] {
        set_mode(&home.join("control.db"), mode);
        set_mode(&home, 0o500);
        let serve = run(&["serve", "--listen", "127.0.0.1:0"]).output();
        set_mode(&home, 0o700);
        let error = sentence(&serve.unwrap());
        assert!(
            error.contains("control.db") && error.contains("the database is read-only"),
            "{mode:o}: {error}"
        );
    }
}
