//! What is said of a command line that can't be used.
//!
//! INVARIANT (unsaid): a secret or a token in a wrong place isn't repeated: what a command says goes into logs.

use std::cmp::Reverse;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::egress::vault::SECRET_BYTES_MIN;

/// Prints the help that was asked for, or what is wrong, and answers the exit code.
pub(super) fn told(error: &clap::Error) -> ExitCode {
    // If it can't be printed, the exit code says what can be said.
    let _ = match without_value(error) {
        Some(text) => std::io::stderr().write_all(text.as_bytes()),
        None => error.print(),
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The message without the value that is wrong. `None` where no part of it is long enough to be a secret, or it's a flag.
fn without_value(error: &clap::Error) -> Option<String> {
    let place = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => ContextKind::InvalidValue,
    };
    let ContextValue::String(value) = error.get(place)? else { return None };
    if value.starts_with("--") {
        return None;
    }
    // Messages escape what they show, names are cut in them, and they speak of a part of `LABEL=@FILE` or `token:ID`.
    let parts = std::iter::once(value.as_str()).chain(value.split(['=', ':']));
    let mut hidden: Vec<String> = parts
        .filter(|part| part.len() >= SECRET_BYTES_MIN)
        .flat_map(|part| {
            let cut: String = part.chars().take(80).collect();
            [format!("{part:?}"), format!("{cut:?}"), part.to_owned(), cut]
        })
        .collect();
    hidden.sort_by_key(|part| Reverse(part.len()));
    let text = error.render().to_string();
    (!hidden.is_empty()).then(|| hidden.iter().fold(text, |text, part| text.replace(part, "…")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn told_of(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from([&["keybearer"][..], arguments].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        without_value(&error).unwrap_or_else(|| error.render().to_string())
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        let token = format!("kbt_{}", "A".repeat(43));
        let (long, odd) = ("sk_live_".repeat(20), "sk_live_'\"\\\u{e9}");
        for secret in ["sk_live_abcdef", &token, &long, odd] {
            for arguments in [
                &["dev", "--secret", &format!("k={secret}"), "--", "true"][..],
                &["dev", &format!("--secret=/{secret}=@file"), "--", "true"],
                &["vault", "set", "k", secret],
                &["vault", secret],
                &["token", "revoke", secret],
                &["kill", &format!("token:{secret}"), "--reason", "x"],
                &["audit", "show", secret],
                &[secret],
            ] {
                let text = told_of(arguments);
                let shown = secret.get(..8).unwrap();
                assert!(!text.contains(shown) && text.contains('…'), "{arguments:?}: {text}");
            }
        }
    }

    #[test]
    fn a_key_in_the_place_of_its_variable_s_name_is_not_repeated() {
        let hex = "ab".repeat(32);
        for key in [&*hex, "correct horse battery staple", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="] {
            for flag in ["--new-key-env", "--new-passphrase-env"] {
                let text = told_of(&["vault", "rotate-master", flag, key]);
                assert!(!text.contains(key) && text.contains("no name of an environment variable"), "{text}");
            }
        }
    }

    #[test]
    fn a_slip_is_named() {
        for (arguments, told) in [
            (&["token", "mint", "--agent", "a", "--ttl", "5x"][..], "\"5x\" is not a span of time"),
            (&["token", "mint", "--agnt", "a"], "unexpected argument '--agnt' found"),
            (&["tokn", "list"], "unrecognized subcommand 'tokn'"),
            (&["dev", "--secret", "k=sk_live_abcdef", "--", "true"], "write LABEL=@FILE"),
            (&["vault", "set"], "<LABEL>"),
            (&["token", "revoke", "kbt_AAAAAAAA"], "`keybearer token revoke -` reads a token"),
            (&["token", "revoke", "kbm_AAAAAAAA"], "`keybearer token revoke -` reads a token"),
            (&["token", "mint", "--agent", "a", "--monitor", "--tool", "x"], "cannot be used with"),
            (&["token", "mint", "--agent", "a", "--monitor", "--operator"], "cannot be used with"),
            (&["token", "mint", "--agent", "a", "--tool", "x", "--every-environment"], "--monitor"),
        ] {
            let text = told_of(arguments);
            assert!(text.contains(told), "{text}");
        }
    }
}
