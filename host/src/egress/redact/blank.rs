//! What stands for a value, and is none.

use regex::Regex;

/// Knows what says where a value is to be put, or comes from: `<your key>`, `${TOKEN}`, `[REDACTED]`.
pub(super) struct Blank(Regex);

impl Blank {
    pub(super) fn new() -> Option<Self> {
        let elsewhere = [
            r"<[^<>\n]{0,64}>",
            r"\[(?i:secret|redacted)[^\]\n]{0,160}\]",
            r"\$?\{\{[^{}\n]{0,128}\}\}",
            r"\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_.]{0,127}\}",
            r"\$\([^()\n]{0,256}\)",
            r"\$[A-Z_][A-Z0-9_]*",
            r"%\([A-Za-z0-9_.]{1,64}\)s?",
            r"%\{[A-Za-z0-9_.:]{1,64}\}",
            r"(?:os\.)?(?:environ(?:\.get)?|getenv)[\[(][^\])\n]{0,128}[\])]",
            r#"(?:process\.)?env(?:[.:][A-Za-z_][A-Za-z0-9_]{0,63}|[\[(]["']?[A-Za-z0-9_]{1,64}["']?[\])])"#,
        ];
        Regex::new(&format!("^(?:{})", elsewhere.join("|"))).ok().map(Self)
    }

    /// How long it is, where a text begins with one.
    pub(super) fn len(&self, text: &str) -> Option<usize> {
        self.0.find(text).map(|found| found.end())
    }
}

/// Whether a value is none by itself: one character over and over, or a word for what it'll be.
pub(super) fn is_word_for_nothing(value: &str) -> bool {
    const WORDS: &[&str] = &[
        "none",
        "null",
        "nil",
        "true",
        "false",
        "undefined",
        "string",
        "str",
        "bytes",
        "text",
        "int",
        "integer",
        "required",
        "optional",
        "todo",
        "tbd",
        "n/a",
        "changeme",
        "redacted",
    ];
    let mut chars = value.chars();
    let first = chars.next();
    chars.all(|char| Some(char) == first) || WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
}
