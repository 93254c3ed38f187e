//! Text that people write for other people to read: reasons, tasks, names.

/// Whether a character stands for itself: no control character, no separator of lines, no change of direction, nothing
/// invisible. What is made of such characters can't forge a line, drive a terminal or reorder what is shown.
#[must_use]
pub fn is_printable(char: char) -> bool {
    let is_invisible = matches!(char,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !char.is_control() && !is_invisible
}

/// Whether a text is one line of 1 to `chars_max` printable characters, and not of spaces alone.
#[must_use]
pub fn is_line(text: &str, chars_max: usize) -> bool {
    text.chars().count() <= chars_max && text.chars().all(is_printable) && !text.trim().is_empty()
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
        ] {
            assert!(!is_line(bad, 40), "{bad:?}");
        }
        assert!(is_line(&"ü".repeat(40), 40) && !is_line(&"ü".repeat(41), 40));
    }
}
