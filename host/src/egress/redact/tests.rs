//! Fake credentials, which are cut out, and what looks a little like them, which isn't. The Python package's tests have the
//! same ones.

use std::time::{Duration, Instant};

use super::*;

/// Random-looking text of this length.
fn some(length: usize) -> String {
    "q7Zr2TmK9xWb4LpV8cNd5GsH3fJy6Ma1".chars().cycle().take(length).collect()
}

/// All of a credential goes, and all that's around it stays.
#[track_caller]
fn cut(around: &str, secret: &str) {
    // A line break is written as `\n` by then, and a credential may come right after it.
    for around in [around.to_owned(), format!(r"first\n{around}")] {
        let text = around.replace("{}", secret);
        assert_eq!(redact(&text), around.replace("{}", REDACTED), "{text}");
    }
}

#[test]
fn vendors_keys_are_cut_out_by_their_shape() {
    let pem = format!(r"-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----", some(64));
    for (around, secret) in [
        ("use {} please", format!("sk_live_{}", some(24))),
        ("hook: {}.", format!("whsec_{}", some(32))),
        ("OPENAI_API_KEY={}", format!("sk-proj-{}", some(48))),
        ("sent {} off", "sk-proj-abcdefgh1234567890".to_owned()),
        ("key is {}", format!("sk-ant-api03-{}", some(60))),
        ("my token is {}, thanks", format!("ghp_{}", some(36))),
        ("https://x:{}@github.com/o/r.git", format!("github_pat_{}", some(82))),
        ("slack={}&x=1", format!("xoxb-{}", some(40))),
        ("id {}", format!("AKIA{}", "Z2".repeat(8))),
        ("mail {}", format!("SG.{}.{}", some(22), some(43))),
        ("KEYBEARER_TOKEN={}", format!("kbt_{}", some(43))),
        ("Authorization: Bearer {}", format!("eyJ{}.{}.{}", some(20), some(20), some(43))),
        (r"here:\n{}\nthat's it", pem),
        ("see x%3D{}&y", format!("ghp_{}", some(36))),
        (r"\u{1b}[31m{}\u{1b}[0m", format!("ghp_{}", some(36))),
        (r"\u{1b}[m\u{1b}[1;38;5;196m{}\u{1b}[m", format!("AKIA{}", "Z2".repeat(8))),
    ] {
        cut(around, &secret);
    }
}

#[test]
fn what_is_named_a_secret_is_cut_out() {
    for (around, secret) in [
        ("my password is {}.", "hunter2"),
        ("password: {}", "hunter2"),
        ("Passwort: {}", "sunshine"),
        ("DB_PASSWORD={}", "Tr0ub4dor&3"),
        ("the password is \"{}\" by the way", "two words"),
        (r#"{"user": "me", "password": "{}"}"#, "s3cret!"),
        ("dbPassword='{}'", "sw0rdfish"),
        ("PIN: {}", "4711"),
        ("passphrase: {}", "correct horse battery staple"),
        ("The API key is {}", "abc-123-def"),
        ("client_secret={}", "AbCdEf"),
        ("DB_PASS={}", "s3cr3t!xyz9"),
        ("pass: {}", "hunter2!"),
        ("PGPASSWORD={}", "$tr0ng&pw"),
        ("password: {}", "<hunter2"),
        ("my password is {}, thanks", "p@ss'word12"),
        ("password: \"{}", "hunter2"),
        (r#"{"note":"password: {}","more":1}"#, "hunter2"),
        (r#""arguments": "{\"password\": \"{}\"}""#, "hunter2"),
        (r#""arguments": "{\"password\": \"{}\", \"x\": 1}""#, r#"h\\\"unter2\\\\"#),
        ("token=${TOKEN}&password={}", "hunter2"),
        ("token=$(cat /run/token);password={};user=me", "hunter2"),
        ("token=[REDACTED],password={}", "hunter2"),
        ("**Password:** {}", "hunter2"),
        ("**Password**: {}", "hunter2"),
        ("*password:* {}", "hunter2"),
        ("~~password:~~ {}", "hunter2"),
        ("`password:` {}", "hunter2"),
        ("__API key:__ {}", "abc-123-def"),
        ("password：{}", "hunter2"),
        (r"Password:\n{}", "hunter2"),
        (r"Password:\n  {} is it", "hunter2"),
        (r"**Password:**\n{}", "hunter2"),
        (r"Password:\n\n    {}", "hunter2"),
        (r"Password:\n\n\t  \t  {}  \nis it.", "hunter2"),
        ("--password {}", "hunter2"),
        ("mysql -u root --password {} db", "hunter2"),
        ("mysql --db-password '{}'", "two words"),
        ("deploy --api-key {} --now", "abc-123-def"),
        ("deploy --pass {}", "hunter2!"),
    ] {
        cut(around, secret);
    }
    cut("secret: {}", &some(800));
}

#[test]
fn what_logs_somebody_in_is_cut_out() {
    for (around, secret) in [
        ("Authorization: Bearer {}", "abcdefgh"),
        ("curl -H 'Authorization: Bearer {}'", "q7Zr2TmK9xWb4LpV8cNd"),
        ("bearer {}", "abcdefgh"),
        ("Authorization: {}", "sunshine"),
        ("Proxy-Authorization: {} and", "abcd"),
        (r#""{\"Authorization\": \"Basic {}\"}""#, "dXNlcjpwYXNz"),
        ("postgres://me:{}@db.internal/x", "hunter2"),
        ("postgres://app:{}@db", "p@ssw0rd"),
        (r#"{"url":"postgres://app:{}@db","mail":"me@example.com"}"#, "hunter2"),
    ] {
        cut(around, secret);
    }
}

#[test]
fn what_looks_random_after_a_word_for_secrets_is_cut_out() {
    cut("aws_secret_access_key = {}", &some(40));
    cut("The secret I was given is this one here: {}", &format!("{}/+", some(38)));
}

#[test]
fn what_is_no_credential_stays() {
    for text in [
        "",
        "What is the state of invoice in_1MtHbELkdIwHu7ixl4OzzPMv?",
        "Use your token to look up invoice in_1MtHbELkdIwHu7ixl4OzzPMv for cus_NffrFeUfNV2Hib.",
        "I forgot my password and can't log in. The password is wrong, it says.",
        "How do I rotate an API key? Is the token expired?",
        "The secret of success is hard work.",
        "Shipping: tomorrow. Opinion: fine. The tokenizer: done.",
        "password: <your password>",
        "password=${DB_PASSWORD}",
        "password=$DB_PASSWORD, token: ${{ secrets.TOKEN }}",
        "password: $(cat /run/secrets/password)",
        "api_key = os.environ[\"API_KEY\"]",
        r#"{"usage": {"prompt_tokens": 1234567, "total_tokens": 1_234_567}}"#,
        "token_env=\"KEYBEARER_TOKEN\"",
        "secret_name=stripe-key-production",
        r#"{"credentials": {"user": "me"}, "tokens": ["one", "two"]}"#,
        "password=\"\"&password=&user=me",
        "The first pass: all tests. PASS: tests/python/test_2.py. bypass: true1",
        "password: ********",
        "token: string",
        "password: [REDACTED]",
        "Authorization: Bearer [REDACTED]",
        "overbearer abcdefgh",
        "Use --password to log in, the --token option, --pass through or --password-stdin example.com.",
        "login --password --user me, --token-file /run/token9, --max-tokens 4096",
        "login --password $PASSWORD --token '<your token>' --api-key ${KEY}",
        "**Password:** <your password>. The **token:** is wrong.",
        r"To reset your password:\n\n      passwd somebody",
        "the list[31msk_live_abcdefgh12345678, and %sksk_live_abcdefgh12345678",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 fixes it",
        "The key is on page 123e4567-e89b-12d3-a456-426614174000.",
        "about the key, see https://example.com/docs/a1B2c3D4e5F6g7H8i9J0k1L2m3",
        "grün ✓ « pässe »",
    ] {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn lines_that_nearly_match_are_read_in_time_that_grows_with_their_length_alone() {
    for part in [
        "password: ",
        "password=\"",
        r#"password:\"a "#,
        "pass: a,",
        "pin",
        "_eyJabcdefgh",
        "a://b:c",
        "a://:@b@",
        "Authorization: a ",
        r"bearer \",
        "password=$(",
        "secret is <",
        "a,b;c&",
        "-----BEGIN PRIVATE KEY-----",
        "passphrase:x",
        "aaaaaaaaaaaaaaaaaaaaaaaa/",
        "--password ",
        r#"--token "a "#,
        "-a_-",
        "password:** ",
        r"password:\n  ",
        r"password:\n      a ",
        "%3Dghp_",
        "1;1;1;1;1;1;1;1;1mghp_",
        "ü is ",
    ] {
        let line = format!("secret={}", part.repeat((256 << 10) / part.len()));
        let begun = Instant::now();
        let length = redact(&line).len();
        assert!(begun.elapsed() < Duration::from_secs(20), "{part:?}: {length} bytes are left");
    }
}
