//! Text that people write for other people to read: reasons, tasks, names.

/// Whether a character stands for itself: no control character, no separator of lines, no change of direction, nothing
/// invisible. What is made of such characters can't forge a line, drive a terminal, reorder what is shown or hide a text
/// that only a model reads.
#[must_use]
pub fn is_printable(char: char) -> bool {
    // Unicode's Default_Ignorable_Code_Point, its separators of lines and the marks of annotations.
    let is_invisible = matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}');
    !char.is_control() && !is_invisible
}

/// Whether a text is one line of 1 to `chars_max` printable characters, and not of spaces alone.
#[must_use]
pub fn is_line(text: &str, chars_max: usize) -> bool {
    text.chars().count() <= chars_max && text.chars().all(is_printable) && !text.trim().is_empty()
}

/// What may be shown or recorded of a text that nobody checked: its visible ASCII characters, at most `chars_max`.
#[must_use]
pub fn visible(text: &str, chars_max: usize) -> String {
    text.chars().filter(char::is_ascii_graphic).take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_it_looks_like() {
        for good in ["a", "a loop: 40 charges in a minute", "grün ✓", "«quoted» \"twice\""] {
            assert!(is_line(good, 40), "{good:?}");
        }
        for bad in [
            "",
            " ",
            "\u{3000}",
            "a\nb",
            "a\rb",
            "a\tb",
            "a\0b",
            "\u{1b}[31m",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{2028}b",
            "a\u{61c}b",
            "a\u{feff}b",
            "a\u{85}b",
            "a\u{ad}b",
            "a\u{180e}b",
            "a\u{3164}b",
            "a\u{fe0f}b",
            "a\u{e0041}b",
            "a\u{e0100}b",
        ] {
            assert!(!is_line(bad, 40), "{bad:?}");
        }
        assert!(is_line(&"ü".repeat(40), 40) && !is_line(&"ü".repeat(41), 40));
    }

    #[test]
    fn what_is_visible_is_short_and_plain() {
        assert_eq!(visible("a b\n\u{202e}ü\"c", 64), "ab\"c");
        assert_eq!(visible(&"ab".repeat(40), 3), "aba");
    }
}
