//! A value that someone else chose, as printable ASCII on one line.
//!
//! What a value could pretend to be, it can't: a text is between quotes and holds none that isn't escaped; a line end, a
//! control character, a change of direction, an invisible or a foreign letter is written as its number; spaces don't
//! pile up to push text to where a terminal begins its next line; and what is cut says so outside of the quotes.

use serde_json::Value;

use crate::ids::Digest;

/// How many spaces at the beginning of a line of code stand as they are: it's indented by them.
const INDENT_MAX: usize = 40;
/// How many in a row stand as they are further on.
const SPACES_MAX: usize = 4;
/// A text of more characters than this is cut in the middle.
const VALUE_CHARS_MAX: usize = 160;
/// How many characters of it are kept at its beginning.
const HEAD_CHARS: usize = 100;
/// How many at its end.
const TAIL_CHARS: usize = 40;
/// A name of more characters than this is cut.
const NAME_CHARS_MAX: usize = 80;

/// A text in quotes.
pub(super) fn text(text: &str) -> String {
    let count = text.chars().count();
    if count <= VALUE_CHARS_MAX {
        return format!("\"{}\"", escaped(text.chars()));
    }
    let head = escaped(text.chars().take(HEAD_CHARS));
    let tail = escaped(text.chars().skip(count - TAIL_CHARS));
    let digest = Digest::of(text.as_bytes());
    let left_out = count - HEAD_CHARS - TAIL_CHARS;
    format!("\"{head}\" [{left_out} characters left out here; all {} bytes: {digest}] \"{tail}\"", text.len())
}

/// A text in quotes, all of it.
pub(super) fn whole(text: &str) -> String {
    format!("\"{}\"", escaped(text.chars()))
}

/// A line of code, all of it. It's in no quotes, so what stands for itself does so here: `"` and `'`; a backslash is two, so
/// that no two lines look alike.
pub(super) fn code(line: &str) -> String {
    let mut shown = String::new();
    let (mut spaces, mut is_indent) = (0, true);
    for char in line.chars() {
        spaces = if char == ' ' { spaces + 1 } else { 0 };
        is_indent &= char == ' ';
        match char {
            ' ' if spaces > if is_indent { INDENT_MAX } else { SPACES_MAX } => shown.push_str("\\u{20}"),
            ' ' | '\'' | '"' => shown.push(char),
            _ => shown.extend(char.escape_default()),
        }
    }
    shown
}

/// A name, without quotes. Names come from the operator's files.
pub(super) fn name(text: &str) -> String {
    let shown = escaped(text.chars().take(NAME_CHARS_MAX)).replace(' ', "\\u{20}");
    if text.chars().count() > NAME_CHARS_MAX { format!("{shown}...") } else { shown }
}

/// Calls `line` for each value inside this one, with its name; texts as `texts` shows them.
pub(super) fn flat(at: &str, value: &Value, texts: fn(&str) -> String, line: &mut dyn FnMut(String, String)) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => line(at.to_owned(), value.to_string()),
        Value::String(string) => line(at.to_owned(), texts(string)),
        Value::Array(items) if items.is_empty() => line(at.to_owned(), "[]".to_owned()),
        Value::Object(members) if members.is_empty() => line(at.to_owned(), "{}".to_owned()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flat(&format!("{at}[{index}]"), item, texts, line);
            }
        }
        Value::Object(members) => {
            for (member, value) in members {
                flat(&format!("{at}.{}", name(member)), value, texts, line);
            }
        }
    }
}

fn escaped(chars: impl Iterator<Item = char>) -> String {
    let mut line = String::new();
    let mut after_space = false;
    for char in chars {
        match char {
            ' ' if after_space => line.push_str("\\u{20}"),
            '\'' | ' ' => line.push(char),
            _ => line.extend(char.escape_default()),
        }
        after_space = char == ' ';
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_stands_for_what_it_is_not() {
        for (nasty, shown) in [
            ("5\napproved: yes", r#""5\napproved: yes""#),
            ("a\r\u{85}\u{2028}\u{2029}\u{b}\u{c}b", r#""a\r\u{85}\u{2028}\u{2029}\u{b}\u{c}b""#),
            ("\u{1b}[2K\u{1b}]0;x\u{7}", r#""\u{1b}[2K\u{1b}]0;x\u{7}""#),
            ("\u{9b}31m\u{0}\u{7f}", r#""\u{9b}31m\u{0}\u{7f}""#),
            ("100\u{202e}001", r#""100\u{202e}001""#),
            ("\u{2066}x\u{2069}\u{61c}", r#""\u{2066}x\u{2069}\u{61c}""#),
            ("cus_\u{200b}1\u{200d}\u{feff}\u{ad}", r#""cus_\u{200b}1\u{200d}\u{feff}\u{ad}""#),
            ("cus_\u{430}", r#""cus_\u{430}""#),
            ("\u{ff11}", r#""\u{ff11}""#),
            ("e\u{301}", r#""e\u{301}""#),
            ("\u{e0061}\u{fe0f}", r#""\u{e0061}\u{fe0f}""#),
            ("it's \"quoted\" \\u{202e}", r#""it's \"quoted\" \\u{202e}""#),
            ("a    b", r#""a \u{20}\u{20}\u{20}b""#),
            ("\t", r#""\t""#),
            ("", r#""""#),
        ] {
            assert_eq!(text(nasty), shown);
        }
    }

    #[test]
    fn a_long_text_shows_both_ends_its_length_and_its_digest() {
        let long = format!("{}{}{}", "a".repeat(100), "\n".repeat(50_000), "z".repeat(40));
        let shown = text(&long);
        assert!(shown.starts_with(&format!("\"{}\" [50000 characters left out here; ", "a".repeat(100))));
        assert!(shown.contains(&format!("all 50140 bytes: {}]", Digest::of(long.as_bytes()))));
        assert!(shown.ends_with(&format!("] \"{}\"", "z".repeat(40))));
        assert_ne!(text(&long), text(&long.replacen('\n', "\t", 1)), "the digest tells them apart");
        // The mark of a cut stands outside of the quotes, where no value can write.
        assert_eq!(text("a\" [5 characters left"), r#""a\" [5 characters left""#);
    }

    #[test]
    fn code_is_shown_as_it_is_and_nothing_in_it_hides() {
        let spaces = |count: usize| " ".repeat(count);
        for (line, known) in [
            (r#"print("it's", x)  # two"#.to_owned(), r#"print("it's", x)  # two"#.to_owned()),
            (spaces(40) + "x", spaces(40) + "x"),
            (spaces(42) + "x", spaces(40) + r"\u{20}\u{20}x"),
            (format!("x = 1{}; pay()", spaces(6)), format!(r"x = 1{}\u{{20}}\u{{20}}; pay()", spaces(4))),
            ("\tx".to_owned(), r"\tx".to_owned()),
            (r"'\n\u202e'".to_owned(), r"'\\n\\u202e'".to_owned()),
            ("# \u{202e})(yap\u{2066}".to_owned(), r"# \u{202e})(yap\u{2066}".to_owned()),
            ("p\u{430}y()\u{200b}\u{feff}".to_owned(), r"p\u{430}y()\u{200b}\u{feff}".to_owned()),
            ("\u{1b}[2K\u{8}\u{0}".to_owned(), r"\u{1b}[2K\u{8}\u{0}".to_owned()),
        ] {
            assert_eq!(code(&line), known, "{line:?}");
        }
    }

    #[test]
    fn values_inside_values_have_their_place_in_front() {
        let value = json!({"a": [1, {"b c": "x"}], "d": {}, "e": [], "f": null, "g": true, "h": 0.5});
        let mut lines = Vec::new();
        flat("body.v", &value, text, &mut |name, value| lines.push(format!("{name}: {value}")));
        lines.sort();
        assert_eq!(
            lines,
            [
                "body.v.a[0]: 1",
                "body.v.a[1].b\\u{20}c: \"x\"",
                "body.v.d: {}",
                "body.v.e: []",
                "body.v.f: null",
                "body.v.g: true",
                "body.v.h: 0.5",
            ]
        );
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_is_one_line_of_printable_ascii_in_quotes(string in any::<String>()) {
            let shown = text(&string);
            prop_assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{shown}");
            prop_assert!(shown.starts_with('"') && shown.ends_with('"'));
            prop_assert!(!shown.contains("  "));
            if string.chars().count() <= VALUE_CHARS_MAX {
                // A quote inside is always behind an odd number of backslashes.
                let inner = &shown[1..shown.len() - 1];
                let mut backslashes = 0;
                for b in inner.bytes() {
                    prop_assert!(b != b'"' || backslashes % 2 == 1, "{shown}");
                    backslashes = if b == b'\\' { backslashes + 1 } else { 0 };
                }
            }
        }

        #[test]
        fn whatever_code_it_is_it_is_printable_ascii_and_no_other_looks_alike(a in any::<String>(), b in any::<String>()) {
            prop_assert!(code(&a).bytes().all(|b| (0x20..0x7f).contains(&b)));
            prop_assert!(whole(&a).bytes().all(|b| (0x20..0x7f).contains(&b)));
            if a != b {
                prop_assert_ne!(code(&a), code(&b));
                prop_assert_ne!(whole(&a), whole(&b));
            }
        }

        #[test]
        fn two_short_texts_never_look_alike(a in any::<String>(), b in any::<String>()) {
            let short = |s: &str| s.chars().count() <= VALUE_CHARS_MAX;
            if a != b && short(&a) && short(&b) {
                prop_assert_ne!(text(&a), text(&b));
            }
        }
    }
}
