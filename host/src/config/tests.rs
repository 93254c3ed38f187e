use super::*;
use crate::home::CONFIG_TEMPLATE;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/home/kb/keybearer.toml")).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_safe_default() {
    let config = parse("").unwrap();
    assert!(config.listen.ip().is_loopback());
    assert_eq!(config.deadline, Duration::from_secs(4));
    assert_eq!(config.master_key, MasterKeySource::File("/home/kb/master.key".into()));
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let error = parse("listen = \"127.0.0.1:1\"\n[calls]\ndeadline = 5\n").unwrap_err();
    assert!(error.starts_with("/home/kb/keybearer.toml:3:1"), "{error}");
    assert!(error.contains("deadline"), "{error}");
}

#[test]
fn a_value_out_of_range_is_named_with_its_place() {
    let error = parse("[calls]\nmemory_bytes_max = 1\n").unwrap_err();
    assert!(error.contains("keybearer.toml:2:1: calls.memory_bytes_max: 1 is out of range"), "{error}");
    let error = parse("[calls]\ndeadline_ms = 0\n").unwrap_err();
    assert!(error.contains("calls.deadline_ms: 0 is out of range: it must be from 1 to 120000"), "{error}");
    let error = parse("calls = { deadline_ms=5, sends_max=20000 }\n").unwrap_err();
    assert!(error.contains("keybearer.toml:1:26: calls.sends_max: 20000 is out of range"), "{error}");
}

#[test]
fn of_two_tables_with_the_same_key_the_wrong_one_is_named() {
    let text = "[calls]\nmemory_bytes_max = 2097152\noutput_bytes_max = 0\n[code]\nmemory_bytes_max = 1\n";
    let error = parse(text).unwrap_err();
    assert!(error.contains("keybearer.toml:3:1: calls.output_bytes_max: 0 is out of range"), "{error}");
    let error = parse(&text.replace("= 0", "= 1")).unwrap_err();
    assert!(error.contains("keybearer.toml:5:1: code.memory_bytes_max: 1 is out of range"), "{error}");
    let error = parse("code.memory_bytes_max = 1\ncalls.memory_bytes_max = 2097152\n").unwrap_err();
    assert!(error.contains("keybearer.toml:1:6: code.memory_bytes_max: 1 is out of range"), "{error}");
}

#[test]
fn what_another_key_bounds_says_which_one() {
    let error = parse("[calls]\ndeadline_ms = 200000\n").unwrap_err();
    assert!(error.contains("it must be from 1 to 120000, which is calls.deadline_ms_max"), "{error}");
    assert!(error.contains("or raise calls.deadline_ms_max"), "{error}");
    let error = parse("[code]\ntimeout_ms_max = 10\n").unwrap_err();
    assert!(error.contains("code.timeout_ms: 60000 is out of range"), "{error}");
    assert!(error.contains("from 1 to 10, which is code.timeout_ms_max"), "{error}");
}

#[test]
fn a_default_that_the_template_shows_is_not_taken_for_the_value() {
    let text = format!("{CONFIG_TEMPLATE}[calls]\nsends_max = 20000\n");
    let error = parse(&text).unwrap_err();
    let line = text.lines().count();
    assert!(
        error.contains(&format!("keybearer.toml:{line}:1: calls.sends_max: 20000 is out of range")),
        "{error}"
    );
}

#[test]
fn a_wrong_type_is_an_error() {
    assert!(parse("listen = 7411").unwrap_err().contains(":1:10"));
    assert!(parse("[doors]\ncalls_max = -1").is_err());
}

#[test]
fn two_master_keys_are_one_too_many() {
    let error = parse("[master_key]\nfile = \"a\"\nenv = \"B\"\n").unwrap_err();
    assert!(error.contains("more than one source"), "{error}");
    assert_eq!(parse("[master_key]\nenv = \"B\"").unwrap().master_key, MasterKeySource::Env("B".to_owned()));
}

#[test]
fn the_next_master_key_stands_beside_any() {
    for (line, current) in [
        ("", MasterKeySource::File("/home/kb/master.key".into())),
        ("env = \"A\"\n", MasterKeySource::Env("A".to_owned())),
        ("passphrase_env = \"A\"\n", MasterKeySource::Passphrase("A".to_owned())),
    ] {
        for (key, next) in [
            ("next_env", MasterKeySource::Env("B".to_owned())),
            ("next_passphrase_env", MasterKeySource::Passphrase("B".to_owned())),
        ] {
            let config = parse(&format!("[master_key]\n{line}{key} = \"B\"\n")).unwrap();
            assert_eq!((&config.master_key, config.next_master_key), (&current, Some(next)), "{line}{key}");
        }
    }
    let error = parse("[master_key]\nnext_env = \"A\"\nnext_passphrase_env = \"B\"\n").unwrap_err();
    assert!(error.contains("more than one source of the next key"), "{error}");
}

#[test]
fn a_key_in_the_place_of_its_variable_s_name_is_not_repeated() {
    let (hex, base64) = ("ab".repeat(32), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    for text in
        [&*hex, base64, &format!("{base64}="), "correct horse battery staple", "1st_of_them", "\u{e4}b"]
    {
        for key in ["env", "passphrase_env", "next_env", "next_passphrase_env"] {
            let error = parse(&format!("[master_key]\n{key} = \"{text}\"\n")).unwrap_err();
            assert!(
                error.contains(&format!("keybearer.toml:2:1: master_key.{key}: this is no name")),
                "{error}"
            );
            assert!(error.contains("hint") && !error.contains(text), "{error}");
        }
        let error = parse(&format!("master_key = \"{text}\"\n")).unwrap_err();
        assert!(error.contains("keybearer.toml:1:14: invalid type: string, expected"), "{error}");
        assert!(!error.contains(text), "{error}");
    }
    assert!(parse("[master_key]\nenv = \"\"\n").is_err());
    for name in ["A", "_", "kb_master_2", "KEYBEARER_MASTER_KEY"] {
        let config = parse(&format!("[master_key]\nenv = \"{name}\"\n")).unwrap();
        assert_eq!(config.master_key, MasterKeySource::Env(name.to_owned()));
    }
}

#[test]
fn approvals_have_a_time_and_a_number() {
    let usual = parse("").unwrap().approvals;
    assert_eq!((usual.ttl, usual.pending.per_token_max), (Duration::from_secs(900), 10));
    assert!(usual.minter_may_approve, "one person alone may operate a host");
    let set = "[approvals]\nttl_minutes = 2\nper_environment_max = 3\nminter_may_approve = false\n";
    let set = parse(set).unwrap().approvals;
    assert_eq!((set.ttl, set.pending.per_environment_max), (Duration::from_secs(120), 3));
    assert!(!set.minter_may_approve);
    for bad in
        ["ttl_minutes = 0", "ttl_minutes = 10081", "per_token_max = 0", "per_environment_max = 0", "ttl = 1"]
    {
        assert!(parse(&format!("[approvals]\n{bad}\n")).is_err(), "{bad}");
    }
}

#[test]
fn code_has_limits_of_its_own() {
    let usual = parse("").unwrap().code;
    assert_eq!((usual.timeout, usual.timeout_max), (Duration::from_secs(60), Duration::from_secs(300)));
    assert_eq!((usual.executions_max, usual.limits.memory_bytes_max), (16, 256 << 20));
    let set =
        parse("[calls]\nsends_max = 3\n[code]\ntimeout_ms_max = 90000\nmemory_bytes_max = 67108864\noutput_bytes_max = 1024\n")
            .unwrap();
    assert_eq!((set.code.limits.wall, set.code.limits.sends_max), (Duration::from_secs(90), 3));
    assert_eq!((set.code.limits.memory_bytes_max, set.code.output_bytes_max), (64 << 20, 1024));
    assert_eq!(set.limits.memory_bytes_max, 256 << 20, "tools keep theirs");
    for bad in [
        "timeout_ms = 0",
        "timeout_ms = 300001",
        "timeout_ms_max = 3600001",
        "executions_max = 0",
        "executions_max = 513",
        "memory_bytes_max = 67108863",
        "memory_bytes_max = 1073741825",
        "output_bytes_max = 1023",
        "output_bytes_max = 1048577",
        "sends_max = 1",
    ] {
        assert!(parse(&format!("[code]\n{bad}\n")).is_err(), "{bad}");
    }
}

#[test]
fn repetitions_are_always_recognised_for_some_time() {
    assert_eq!(parse("").unwrap().duplicate_window, Duration::from_secs(86_400));
    assert_eq!(
        parse("[ledger]\nduplicate_window_hours = 1").unwrap().duplicate_window,
        Duration::from_secs(3_600)
    );
    let error = parse("[ledger]\nduplicate_window_hours = 0\n").unwrap_err();
    assert!(
        error.contains("keybearer.toml:2:1: ledger.duplicate_window_hours: 0 is out of range"),
        "{error}"
    );
}
