//! The command line as a shell sees it: where its output goes, and what isn't where it looks.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn kb(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keybearer"));
    command.arg("--home").arg(home).args(arguments);
    command
}

fn home() -> TempDir {
    let home = TempDir::new().unwrap();
    assert!(kb(home.path(), &["init"]).output().unwrap().status.success());
    home
}

/// A device that takes nothing, as a full disk.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_result_that_can_not_be_written_is_a_failure() {
    let home = home();
    for arguments in [
        &["audit", "list", "--json"][..],
        &["audit", "list"],
        &["token", "list"],
        &["completions", "bash"],
        &["token", "revoke", "tok_000000000000000000000000", "--json"],
    ] {
        let output = kb(home.path(), arguments).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(errors(&output).starts_with("error: "), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_token_that_can_not_be_shown_is_named_so_that_it_can_be_revoked() {
    let home = home();
    for json in [false, true] {
        let mint = ["token", "mint", "--agent", "billing", "--tool", "*"];
        let mut command = kb(home.path(), &mint);
        let output = command.args(json.then_some("--json")).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = errors(&output);
        let id = said.split_whitespace().find(|word| word.starts_with("tok_")).unwrap();
        assert!(kb(home.path(), &["token", "revoke", id]).output().unwrap().status.success(), "{said}");
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let home = home();
    for arguments in [&["completions", "bash"][..], &["audit", "list"], &["audit", "questions"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = kb(home.path(), arguments).stdout(Stdio::from(writer)).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(!errors(&output).contains("error"), "{arguments:?}: {output:?}");
    }
}

#[test]
fn what_is_to_be_checked_has_to_be_there() {
    let home = home();
    let policies = home.path().join("policies");
    let policies = policies.to_str().unwrap();
    for (arguments, said) in [
        (&["budget", "check", "/nosuch.toml"][..], "/nosuch.toml isn't there"),
        (&["connection", "check", "/nosuch"], "/nosuch is no folder"),
        (&["policy", "check", policies, "--connections", "/nosuch"], "/nosuch is no folder"),
        (&["policy", "check", "/nosuch"], "/nosuch is no folder"),
    ] {
        let output = kb(home.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(errors(&output).contains(said), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_usage_error_does_not_repeat_what_may_be_a_secret() {
    let secret = "sk_live_0123456789abcdef";
    for arguments in [
        &["vault", "set", "k", secret][..],
        &["dev", "--secret", &format!("k={secret}"), "--", "true"],
        &["token", "revoke", secret],
    ] {
        let output = kb(Path::new("/nosuch"), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let said = errors(&output);
        assert!(!said.contains("sk_live") && said.contains("--help"), "{arguments:?}: {said}");
    }
}
