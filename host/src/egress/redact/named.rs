//! Values that something names as a secret: `password: …`, `the API key is …`, `--password …`.

use std::ops::Range;

use regex::{Captures, Regex};

use super::Blank;
use super::blank::is_word_for_nothing;
use super::value::Values;
use crate::egress::shape::may_begin;

/// Words for what is a secret however it looks.
pub(super) const PASSWORDS: &str = "password|passwd|passwort|kennwort|passcode|pwd|contraseña|senha";
/// Words for what may also be talked about.
pub(super) const KEYS: &str = "secret|token|credentials?|api[ _-]?key|access[ _-]?key|secret[ _-]?key|private[ _-]?key|\
                               signing[ _-]?key|auth[ _-]?key|account[ _-]?key|schlüssel|clave";
/// Words for several words.
pub(super) const PHRASES: &str = "pass ?phrase|seed phrase|recovery phrase|mnemonic|mot de passe";

/// The shortest value that is one, in bytes.
const VALUE_MIN: usize = 3;

/// What kind of word stands before a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Password,
    Phrase,
    /// A key; `many` of them may as well be counted.
    Key {
        many: bool,
    },
    /// `pass`, a word for much else too: tests pass, and passes are boarded with.
    Pass,
}

/// Finds names and their values.
pub(super) struct Named {
    /// A name that ends in such a word, and a sign that the value follows, bold in Markdown with the sign or without it.
    name: Regex,
    /// The option of a command, whose value follows without a sign.
    option: Regex,
    /// The end of a name for what is known of a secret, and is none: `token_env`, `secret_name`.
    about: Regex,
    /// A list of values: each has a name of its own, or none.
    several: Regex,
    values: Values,
    blank: Blank,
}

impl Named {
    pub(super) fn new() -> Option<Self> {
        let word = [
            "(?:(?P<password>",
            PASSWORDS,
            ")|(?P<pin>pin)|(?P<phrase>",
            PHRASES,
            ")|(?P<key>",
            KEYS,
            r")|(?P<pass>pass))(?:(?P<many>s)|[0-9]{1,3}|(?P<more>[_-][A-Za-z0-9_-]{1,20}))?",
        ]
        .concat();
        let name = [
            "(?i)",
            word.as_str(),
            r#"(?:\\{0,8}["'`]|\*{1,3}|_{1,3}|~~)?"#,
            r"(?:\s{0,4}(?P<sign>:=|=>|={1,3}|:|：)|\s{1,4}(?:is|was|ist|lautet|est|es)\b\s{0,2}(?P<colon>:?))",
            r"(?:(?:\*{1,3}|_{1,3}|~~|`)(?:\s|\\[nrt]){1,4}|(?:\s|\\[nrt]){0,4})",
        ];
        let option = [r"(?i)--?(?:[A-Za-z0-9]{1,20}[_-]){0,4}", word.as_str(), r"[ \t]{1,4}"];
        let about = r"(?i)[_-](?:env|var|name|file|path|type|kind|counts?|limit|budget|usage|rate|ur[il]|endpoint|ttl|length|size|field|header|policy|stdin|expiry|expires(?:[_-](?:in|at))?)$";
        Some(Self {
            name: Regex::new(&name.concat()).ok()?,
            option: Regex::new(&option.concat()).ok()?,
            about: Regex::new(about).ok()?,
            several: Regex::new(r#"^[\[({]{1,8}\\{0,8}["'`]"#).ok()?,
            values: Values::new()?,
            blank: Blank::new()?,
        })
    }

    pub(super) fn places(&self, text: &str) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(name) = self.name.captures_at(text, at) {
            let Some(whole) = name.get(0) else { break };
            let Some(word) = word(text.get(..whole.start()).unwrap_or_default(), &name) else {
                // The words that may stand inside another begin with a letter of one byte.
                at = whole.start() + 1;
                continue;
            };
            at = whole.end();
            if self.is_about(&name) || self.several.is_match(text.get(at..).unwrap_or_default()) {
                continue;
            }
            let mut value = self.values.at(text, at);
            let blank = self.blank.len(text.get(value.start..).unwrap_or_default());
            let blank = blank.map(|length| value.start + length);
            // Without quotes it may have spaces in it: `<your password>`.
            if let Some(end) = blank.filter(|end| *end == value.end || *end > value.end && !value.quoted) {
                at = end;
                continue;
            }
            let told = |group: &str| name.name(group).is_some_and(|sign| !sign.is_empty());
            let said = told("sign") || told("colon");
            if word == Word::Phrase && said && !value.quoted {
                // Words that belong together: the rest of the line.
                let rest = text.get(value.start..).unwrap_or_default();
                value.end = value.start + rest.split('\n').next().unwrap_or_default().trim_end().len();
            }
            if is_secret(word, text.get(value.start..value.end).unwrap_or_default(), said || value.quoted) {
                places.push(value.start..value.end);
                at = value.end;
            }
        }
        places.extend(self.options(text));
        places
    }

    /// Values of a command's options: `--password …`. Words in a sentence about one are left alone.
    fn options(&self, text: &str) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(option) = self.option.captures_at(text, at) {
            let Some(whole) = option.get(0) else { break };
            let before = text.get(..whole.start()).unwrap_or_default();
            if !may_begin(before.as_bytes()) || before.ends_with(['-', '_']) {
                // A dash is one byte.
                at = whole.start() + 1;
                continue;
            }
            at = whole.end();
            let next_option = text.get(at..).is_some_and(|after| after.starts_with('-'));
            // A dash stands before the word, so it's never the end of another one.
            let Some(word) = word("-", &option).filter(|_| !next_option && !self.is_about(&option)) else {
                continue;
            };
            let value = self.values.at(text, at);
            let blank = self.blank.len(text.get(value.start..).unwrap_or_default());
            let is_blank = blank.is_some_and(|length| value.start + length >= value.end);
            let said = value.quoted || word == Word::Pass;
            if !is_blank && is_secret(word, text.get(value.start..value.end).unwrap_or_default(), said) {
                places.push(value.start..value.end);
            }
        }
        places
    }

    /// Whether a name is one for what is known of a secret.
    fn is_about(&self, name: &Captures<'_>) -> bool {
        name.name("more").is_some_and(|more| self.about.is_match(more.as_str()))
    }
}

/// Which word a name ends in. `None`: it's the end of another word.
fn word(before: &str, name: &Captures<'_>) -> Option<Word> {
    let has = |group: &str| name.name(group).is_some();
    let in_a_word =
        before.ends_with(|char: char| char.is_ascii_alphabetic()) && !may_begin(before.as_bytes());
    if let Some(pass) = name.name("pass").map(|pass| pass.as_str()) {
        let in_camel_case = pass == "Pass" && before.ends_with(|char: char| char.is_ascii_lowercase());
        return match pass {
            "PASS" if before.ends_with('_') => Some(Word::Password),
            _ if in_a_word && !in_camel_case => None,
            _ => Some(Word::Pass),
        };
    }
    if has("pin") && in_a_word {
        return None;
    }
    Some(if has("key") {
        Word::Key { many: has("many") }
    } else if has("phrase") {
        Word::Phrase
    } else {
        Word::Password
    })
}

/// Whether a value with this name is a secret. `said`: a sign or quotes say that it's a value.
fn is_secret(word: Word, value: &str, said: bool) -> bool {
    if value.len() < VALUE_MIN || is_word_for_nothing(value) {
        return false;
    }
    match word {
        Word::Password | Word::Phrase => said || is_odd(value),
        Word::Pass => said && value.len() >= 6 && (value.len() > 64 || is_mixed(value)),
        Word::Key { many: true } if is_number(value) => false,
        Word::Key { .. } => value.len() >= 6 && (value.len() >= 20 || is_odd(value)),
    }
}

/// Whether it's more than a word.
fn is_odd(value: &str) -> bool {
    let letters = || value.chars().filter(|char| !matches!(char, '-' | '\''));
    let is_word = letters().all(char::is_alphabetic)
        && (letters().skip(1).all(char::is_lowercase) || letters().all(char::is_uppercase));
    !is_word
}

/// Whether it has letters and digits, and is no path.
fn is_mixed(value: &str) -> bool {
    let has_both = value.chars().any(char::is_alphabetic) && value.chars().any(|char| char.is_ascii_digit());
    has_both && !value.contains('/') && !value.contains("::")
}

fn is_number(value: &str) -> bool {
    value.starts_with(|char: char| char.is_ascii_digit())
        && value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b','))
}
