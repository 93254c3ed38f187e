use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "sk_live_a+b/c=d\"e&f%41";

fn sweep() -> Sweep {
    Sweep::new(&[SECRET])
}

/// Every way of writing a text that the sweep has to see through.
fn writings(text: &[u8], before: &[u8], after: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let each = |write: &dyn Fn(&mut String, u8)| {
        let mut out = String::new();
        text.iter().for_each(|b| write(&mut out, *b));
        out.into_bytes()
    };
    let all = [before, text, after].concat();
    let mixed = |write: &dyn Fn(u8) -> String, plain: &dyn Fn(u8) -> bool| {
        let mut odd = false;
        let mut out = Vec::new();
        for &b in text {
            odd = !odd;
            if odd && plain(b) { out.push(b) } else { out.extend(write(b).into_bytes()) }
        }
        out
    };
    vec![
        ("raw", text.to_vec()),
        ("reversed", text.iter().rev().copied().collect()),
        ("hex", hex::encode(text).into_bytes()),
        ("HEX", hex::encode_upper(text).into_bytes()),
        ("hex of all", hex::encode(&all).into_bytes()),
        ("base64", STANDARD.encode(&all).into_bytes()),
        ("base64url", URL_SAFE.encode(&all).into_bytes()),
        ("percent", each(&|out, b| write!(out, "%{b:02x}").unwrap())),
        ("PERCENT", each(&|out, b| write!(out, "%{b:02X}").unwrap())),
        ("partly percent", mixed(&|b| format!("%{b:02X}"), &|b| b != b'%')),
        ("unicode escapes", each(&|out, b| write!(out, "\\u{b:04x}").unwrap())),
        ("partly unicode", mixed(&|b| format!("\\u{b:04X}"), &|b| b != b'\\')),
        ("x escapes", each(&|out, b| write!(out, "\\x{b:02x}").unwrap())),
        ("octal escapes", each(&|out, b| write!(out, "\\{b:03o}").unwrap())),
        ("partly octal", mixed(&|b| format!("\\{b:03o}"), &|b| b != b'\\')),
        ("long unicode escapes", each(&|out, b| write!(out, "\\U{b:08x}").unwrap())),
        ("unicode escapes in braces", each(&|out, b| write!(out, "\\u{{{b:012x}}}").unwrap())),
        ("html", each(&|out, b| write!(out, "&#{b};").unwrap())),
        ("html hex", each(&|out, b| write!(out, "&#x{b:X};").unwrap())),
        ("html with zeros", each(&|out, b| write!(out, "&#{b:012};").unwrap())),
        ("html hex with zeros", each(&|out, b| write!(out, "&#x{b:010x};").unwrap())),
        ("percent twice", each(&|out, b| write!(out, "%25{b:02x}").unwrap())),
        ("percent in html", each(&|out, b| write!(out, "&#37;{b:02x}").unwrap())),
        ("folded base64", fold(&STANDARD.encode(&all), "\r\n")),
        ("escaped folds", fold(&STANDARD.encode(&all), "\\n")),
        ("two-byte", text.iter().flat_map(|b| [*b, 0]).collect()),
        ("two-byte, high first", text.iter().flat_map(|b| [0, *b]).collect()),
        ("broken lines", text.split_inclusive(|b| *b == b' ').collect::<Vec<_>>().join(&b"\n  "[..])),
    ]
}

fn fold(text: &str, with: &str) -> Vec<u8> {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index % 7 == 6 {
            out.push_str(with);
        }
        out.push(c);
    }
    out.into_bytes()
}

#[test]
fn every_writing_is_found() {
    for (name, written) in writings(SECRET.as_bytes(), b"Bearer ", b"!") {
        assert!(sweep().finds(&written), "{name}: {}", String::from_utf8_lossy(&written));
    }
    assert!(sweep().finds(serde_json::to_string(SECRET).unwrap().as_bytes()));
    let twice = serde_json::to_string(&serde_json::to_string(SECRET).unwrap()).unwrap();
    assert!(sweep().finds(twice.as_bytes()));
    assert!(sweep().finds(SECRET.to_uppercase().as_bytes()));
}

#[test]
fn what_is_near_is_not_the_secret() {
    for text in
        ["", "sk_live_", "sk_live_a+b/c=d\"e&f%4", "k_live_a+b/c=d\"e&f%41", "%73%6b_live", "{\"a\": \"b\"}"]
    {
        assert!(!sweep().finds(text.as_bytes()), "{text}");
    }
}

#[test]
fn a_secret_of_several_words_is_found_in_every_writing() {
    let secret = "correct horse  battery";
    let sweep = Sweep::new(&[secret]);
    for (name, written) in writings(secret.as_bytes(), b"{\n  \"key\": \"", b"\"\n}") {
        assert!(sweep.finds(&written), "{name}: {}", String::from_utf8_lossy(&written));
    }
    for text in ["correct\nhorse\nbattery", "cor\r\nrect horse bat\r\ntery", "correcthorsebattery"] {
        assert!(sweep.finds(text.as_bytes()), "{text}");
    }
    for text in ["correct\nhorse", "correct horse, battery", "correct-horse\nbattery"] {
        assert!(!sweep.finds(text.as_bytes()), "{text}");
    }
    // Too little is left of it without its spaces: that would be found in harmless texts.
    assert!(!Sweep::new(&["a b c d e"]).finds(b"{\n\"abcde\"}"));
}

#[test]
fn a_turned_value_is_found_in_every_form_too() {
    let pair = STANDARD.encode(format!("{SECRET}:"));
    let sweep = Sweep::new(&[SECRET, pair.as_str()]);
    for (name, written) in writings(pair.as_bytes(), b"Basic ", b"") {
        assert!(sweep.finds(&written), "{name}");
    }
}

#[test]
fn long_secrets_are_found_by_their_beginning() {
    let long = "k".repeat(300) + &"0123456789".repeat(700);
    let sweep = Sweep::new(&[&long]);
    assert!(sweep.finds(format!("x{long}x").as_bytes()));
    assert!(sweep.finds(STANDARD.encode(&long).as_bytes()));
    assert_eq!(sweep.redact(&format!("key is {long}")), REDACTED);
}

#[test]
fn redacting_leaves_nothing_of_it() {
    let sweep = sweep();
    assert_eq!(sweep.redact("nothing here"), "nothing here");
    assert_eq!(sweep.redact(&format!("é {SECRET} and {SECRET}.")), "é [REDACTED] and [REDACTED].");
    assert_eq!(sweep.redact(&format!("hex {}", hex::encode(SECRET))), REDACTED);
    assert_eq!(sweep.redact(&format!("{SECRET} {}", SECRET.replace("sk", "%73k"))), REDACTED);
}

#[test]
fn without_a_value_everything_counts_as_found() {
    assert!(Sweep::new::<&str>(&[]).finds(b""));
    assert!(Sweep::new(&[""]).finds(b"x"));
    assert_eq!(Sweep::new(&[""]).redact("x"), REDACTED);
}

#[test]
fn it_prints_nothing() {
    assert_eq!(format!("{:?}", sweep()), "Sweep");
}

proptest! {
    #[test]
    fn any_secret_in_any_writing_at_any_place(
        secret in "[!-~]{8,16}( {1,2}[!-~]{1,8}){0,3}",
        before in "[a-z \"{:]{0,20}",
        after in "[a-z \"}:]{0,20}",
    ) {
        let sweep = Sweep::new(&[&secret]);
        for (name, written) in writings(secret.as_bytes(), before.as_bytes(), after.as_bytes()) {
            let whole = [before.as_bytes(), &written, after.as_bytes()].concat();
            prop_assert!(sweep.finds(&whole), "{}: {}", name, String::from_utf8_lossy(&whole));
        }
        let text = format!("{before}{secret}{after}");
        prop_assert!(!sweep.redact(&text).contains(&secret));
    }

    #[test]
    fn decoding_takes_anything(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = sweep().finds(&bytes);
    }
}
