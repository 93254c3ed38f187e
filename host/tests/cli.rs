//! The command line as a shell sees it: where its output goes, what isn't where it looks, and what it looks for again.

mod built;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use keybearer_testkit::process::Program;
use serde_json::Value;
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

#[test]
fn init_names_all_that_is_needed_before_an_agent_can_call_a_tool() {
    let home = TempDir::new().unwrap();
    let output = kb(home.path(), &["init"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (_, next) = said.split_once("next:").unwrap();
    let steps = ["into connections/", "vault set", "tool add", "token mint", "keybearer serve"];
    let places: Vec<_> = steps.iter().map(|step| next.find(step)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {next}");
}

#[test]
fn a_filter_of_the_log_that_is_none_keeps_a_host_from_starting() {
    let home = home();
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["dev", "--", "true"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybearer"));
        command.env("KEYBEARER_HOME", home.path()).env("KEYBEARER_LOG", "debugg").args(arguments);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(errors(&output).contains("KEYBEARER_LOG: \"debugg\" is no level of the log"), "{output:?}");
    }
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
fn a_token_that_was_found_somewhere_is_revoked_by_its_text() {
    let home = home();
    let mint = ["token", "mint", "--agent", "billing", "--tool", "*", "--json"];
    let minted: Value = serde_json::from_slice(&kb(home.path(), &mint).output().unwrap().stdout).unwrap();
    let (id, token) = (minted["id"].as_str().unwrap(), minted["token"].as_str().unwrap());
    let revoke = |text: &str| {
        let given = home.path().join("found");
        fs::write(&given, text).unwrap();
        let stdin = File::open(&given).unwrap();
        kb(home.path(), &["token", "revoke", "-"]).stdin(stdin).output().unwrap()
    };
    for text in ["", "kbt_", id, &format!("kbt_{}", "A".repeat(43))] {
        let output = revoke(text);
        assert_eq!(output.status.code(), Some(1), "{text}: {output:?}");
        assert!(errors(&output).contains("no token of this home has the text"), "{text}: {output:?}");
    }
    for _ in 0..2 {
        let output = revoke(&format!(" {token}\r\n"));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("revoked {id}\n"));
    }
    let typed = kb(home.path(), &["token", "revoke", token]).output().unwrap();
    assert_eq!(typed.status.code(), Some(2));
    let said = errors(&typed);
    assert!(said.contains("token revoke -") && !said.contains(&token[4..]), "{said}");
}

#[test]
fn a_switch_on_everything_takes_no_tenant_that_is_typed_and_needs_none_of_the_environment() {
    let home = home();
    for (variable, typed, code) in [(true, false, 0), (false, true, 2), (true, true, 2)] {
        let mut command = kb(home.path(), &["kill", "everything", "--reason", "a test"]);
        command.args(typed.then_some("--tenant=acme")).envs(variable.then_some(("KEYBEARER_TENANT", "acme")));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{variable} {typed}: {output:?}");
        assert_eq!(errors(&output).contains("kill tenant --tenant acme"), typed, "{output:?}");
    }
}

#[test]
fn a_switch_on_a_mistyped_name_is_thrown_and_says_that_it_finds_nothing() {
    let home = home();
    let names = ["agent:biling-1", "tool:create_charg", "connection:strpe"];
    let output = kb(home.path(), &[&["kill", "--reason", "a test"][..], &names].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (said, told) = (String::from_utf8(output.stdout.clone()).unwrap(), errors(&output));
    for name in names {
        assert!(said.contains(&format!("{name} stopped for default")), "{said}");
        assert!(told.contains(&format!("{name} for default: ")), "{told}");
    }
}

#[test]
fn what_is_in_use_is_not_removed_without_a_yes() {
    let home = home();
    for verb in ["set", "rotate"] {
        let secret = home.path().join("secret");
        fs::write(&secret, "sk_test_0123456789").unwrap();
        let stdin = File::open(&secret).unwrap();
        assert!(kb(home.path(), &["vault", verb, "k"]).stdin(stdin).output().unwrap().status.success());
    }
    let remove = |flags: &[&str]| {
        let mut command = kb(home.path(), &["vault", "remove"]);
        command.args(flags).stdin(Stdio::null()).output().unwrap()
    };
    let refused = remove(&["k"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(errors(&refused).contains("not removed: consent at the terminal, or with --yes"), "{refused:?}");
    assert!(errors(&remove(&["j"])).contains("there is no such secret"));
    for (flags, which) in [(["k", "--version=1"], "version 1"), (["k", "--yes"], "all versions")] {
        let output = remove(&flags);
        assert!(output.status.success() && output.stdout.starts_with(b"removed k ("), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(which));
    }
}

#[test]
fn what_the_build_made_is_found_where_cargo_is_told_to_put_it() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for (name, text) in [
        ("fixtures/x.toml", "[[fixture]]\nname = 'a'\ntool = 't'\nresult = {}\n"),
        ("Cargo.toml", "[package]\nname = 'a-tool'\nedition = '2024'\n[workspace]\n"),
        ("src/lib.rs", ""),
        (".cargo/config.toml", "[build]\ntarget-dir = 'elsewhere'\n"),
    ] {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), text).unwrap();
    }
    let test = |named: Option<&str>| {
        let mut command = kb(Path::new("/nosuch"), &["tool", "test", root.to_str().unwrap()]);
        command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
        errors(&command.envs(named.map(|dir| ("CARGO_BUILD_TARGET_DIR", dir))).output().unwrap())
    };
    for (named, dir) in [(None, "elsewhere"), (Some("named"), "named")] {
        let component = root.join(dir).join("keybearer/a-tool.wasm");
        let said = test(named);
        assert!(
            said.contains("no component to test") && said.contains(component.to_str().unwrap()),
            "{said}"
        );
        fs::create_dir_all(component.parent().unwrap()).unwrap();
        fs::write(&component, "").unwrap();
        assert!(!test(named).contains("no component to test"), "{named:?}");
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
        &["vault", "set", secret],
        &["vault", "rotate", secret],
        &["dev", "--secret", &format!("k={secret}"), "--", "true"],
        &["dev", "--secret", &format!("{secret}=@file"), "--", "true"],
        &["token", "revoke", secret],
    ] {
        let output = kb(Path::new("/nosuch"), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let said = errors(&output);
        assert!(!said.contains("sk_live") && said.contains("--help"), "{arguments:?}: {said}");
    }
}

/// Every file of a folder, with what is in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn dev_adds_nothing_to_a_home_that_is_there_wherever_its_flag_stands() {
    let (home, given) = (home(), TempDir::new().unwrap());
    fs::write(given.path().join("key"), "sk_test_0123456789").unwrap();
    let dir = given.path().to_str().unwrap();
    let (secret, before) = (format!("stripe-key=@{dir}/key"), files(home.path()));
    for (flag, value) in [
        ("--tools", dir),
        ("--sandbox", dir),
        ("--connections", dir),
        ("--policies", dir),
        ("--secret", secret.as_str()),
    ] {
        let first = kb(home.path(), &["dev", flag, value, "--", "true"]);
        let mut last = Command::new(env!("CARGO_BIN_EXE_keybearer"));
        last.args(["dev", flag, value, "--home"]).arg(home.path()).args(["--", "true"]);
        for mut command in [first, last] {
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{command:?}: {output:?}");
            let told = format!("{flag} is for a throw-away home");
            assert!(errors(&output).contains(&told), "{command:?}: {output:?}");
            assert!(files(home.path()) == before, "{command:?} changed the home");
        }
    }
}

#[test]
fn dev_says_that_its_home_is_thrown_away_by_default() {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_keybearer")).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // However its lines are broken.
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let dev = help(&["dev", "--help"]);
    assert!(dev.contains("[default: a throw-away home]") && !dev.contains("~/.keybearer"), "{dev}");
    let serve = help(&["serve", "--help"]);
    assert!(serve.contains("[default: $KEYBEARER_HOME, else ~/.keybearer]"), "{serve}");
}

#[test]
fn a_home_that_others_can_change_is_used_by_no_command() {
    let home = home();
    let connections = home.path().join("connections");
    let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set_mode(home.path(), 0o755);
    set_mode(&connections, 0o777);
    let told = format!(
        "{0} can be changed by others (mode 0777): look at what is in it, then `chmod go-w {0}`",
        connections.display()
    );
    for arguments in [
        &["vault", "list"][..],
        &["tool", "list"],
        &["connection", "check"],
        &["budget", "check"],
        &["dev", "--", "true"],
    ] {
        let output = kb(home.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(errors(&output).contains(&told), "{arguments:?}: {output:?}");
    }
    let output = kb(home.path(), &["doctor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("PROBLEM") && said.contains(&told), "{said}");

    set_mode(&connections, 0o755);
    assert!(kb(home.path(), &["vault", "list"]).output().unwrap().status.success());
}

#[test]
fn watched_fixtures_run_again_when_one_is_changed() {
    let dir = TempDir::new().unwrap();
    let fixtures = dir.path().join("text/fixtures");
    fs::create_dir_all(&fixtures).unwrap();
    fs::write(dir.path().join("text/text.wasm"), built::component("tools", "text")).unwrap();
    let expect = |words: u32| {
        let fixture = format!(
            "[[fixture]]\nname = \"two words\"\ntool = \"word_count\"\narguments = {{ text = \"one two\" }}\n\
             result = {{ words = {words}, characters = 7, lines = 1 }}\n"
        );
        fs::write(fixtures.join("words.toml"), fixture).unwrap();
    };
    expect(22);
    let mut command = kb(dir.path(), &["tool", "test", "--watch"]);
    command.arg(dir.path().join("text")).env("XDG_CACHE_HOME", dir.path());
    let mut program = Program::start(command, &dir.path().join("log")).unwrap();
    let mut hear = |text: &str| {
        program.hear(Duration::from_secs(60), |log| log.contains(text).then_some(())).unwrap();
    };
    hear("0 passed, 1 failed");
    expect(2);
    hear("1 passed, 0 failed");
}

#[test]
fn a_tool_that_is_out_of_use_is_pruned_with_what_was_compiled_of_it() {
    let home = home();
    let file = home.path().join("text.wasm");
    fs::write(&file, built::component("tools", "text")).unwrap();
    let run = |arguments: &[&str]| {
        let output = kb(home.path(), arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["tool", "add", "--yes", file.to_str().unwrap()]);
    fs::remove_file(&file).unwrap();
    let kept = || {
        let mut kept = files(&home.path().join("tools"));
        kept.append(&mut files(&home.path().join("cache")));
        kept.into_keys().collect::<Vec<_>>()
    };
    let both = kept();
    assert_eq!(both.len(), 2, "{both:?}");
    let old = SystemTime::now() - Duration::from_secs(7_200);
    both.iter().for_each(|path| File::options().append(true).open(path).unwrap().set_modified(old).unwrap());

    assert!(run(&["tool", "prune"]).contains("removed: 0 files"), "they are in use");
    run(&["tool", "remove", "text"]);
    let told = run(&["tool", "prune", "--dry-run"]);
    assert!(told.contains("to be removed: 2 files") && told.contains(both[0].to_str().unwrap()), "{told}");
    assert_eq!(kept(), both);
    assert!(run(&["tool", "prune"]).contains("removed: 2 files"));
    assert!(kept().is_empty());
    assert!(run(&["audit", "list", "--json"]).contains("tool.prune"));
}
