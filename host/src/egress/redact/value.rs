//! Where a value begins and ends that has a name before it.

use memchr::memchr;
use regex::Regex;

/// The shortest text in quotes that is a value, in bytes.
const QUOTED_MIN: usize = 3;
/// How many backslashes may stand before a quote: JSON within JSON has them.
const DEPTH_MAX: usize = 8;

/// One value.
pub(super) struct Value {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it stands in quotes.
    pub(super) quoted: bool,
}

/// Reads values.
pub(super) struct Values {
    /// A value by itself on its line, indented: line breaks are written as `\n` by then.
    alone: Regex,
    /// The next name, after a comma or the like.
    next_name: Regex,
}

impl Values {
    pub(super) fn new() -> Option<Self> {
        let next_name = r#"^\\{0,8}["'`]?[A-Za-z_][A-Za-z0-9_.-]{0,63}\\{0,8}["'`]?[:=]"#;
        let alone = r"^(?:\s|\\[nrt]){1,12}(?P<value>\S{3,256}?)[ \t]{0,4}(?:\\[nr]|\n|$)";
        Some(Self { alone: Regex::new(alone).ok()?, next_name: Regex::new(next_name).ok()? })
    }

    /// The value that begins here.
    pub(super) fn at(&self, text: &str, at: usize) -> Value {
        let alone = self.alone.captures(text.get(at..).unwrap_or_default());
        if let Some(value) = alone.and_then(|alone| alone.name("value")) {
            return Value { start: at + value.start(), end: at + value.end(), quoted: false };
        }
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        let depth = rest.iter().take_while(|byte| **byte == b'\\').count();
        let mut start = at;
        if let Some(mark @ (b'"' | b'\'' | b'`')) = rest.get(depth).copied()
            && depth <= DEPTH_MAX
        {
            start = at + depth + 1;
            let end = closing(text.as_bytes(), start, depth, mark);
            if let Some(end) = end.filter(|end| end - start >= QUOTED_MIN) {
                return Value { start, end, quoted: true };
            }
        }
        Value { start, end: start + self.bare(text.get(start..).unwrap_or_default()), quoted: false }
    }

    /// How long a value without quotes is: up to a space, to a quote that ends something, or to the next name.
    fn bare(&self, text: &str) -> usize {
        const AFTER: &str = ".,;&)]}>\"'`\\";
        let mut end = 0;
        for (at, char) in text.char_indices() {
            let next = at + char.len_utf8();
            let after = text.get(next..).unwrap_or_default();
            let goes_on = match char {
                '"' | '\'' | '`' => {
                    after.chars().next().is_some_and(|char| !char.is_whitespace() && !",;)]}>".contains(char))
                }
                ',' | ';' | '&' => !self.next_name.is_match(after),
                _ => !char.is_whitespace(),
            };
            if !goes_on {
                break;
            }
            end = next;
        }
        text.get(..end).unwrap_or_default().trim_end_matches(|char: char| AFTER.contains(char)).len()
    }
}

/// Where a value in quotes ends, on its line. `depth` is how many backslashes stand before its quotes.
fn closing(bytes: &[u8], start: usize, depth: usize, mark: u8) -> Option<usize> {
    let mut from = start;
    loop {
        let at = from + memchr(mark, bytes.get(from..)?)?;
        let slashes = bytes.get(start..at)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        if closes(slashes, depth) {
            let end = (at - slashes).max(at.saturating_sub(depth));
            return (!bytes.get(start..end)?.contains(&b'\n')).then_some(end);
        }
        from = at + 1;
    }
}

/// Whether a quote after so many backslashes ends a value, rather than being a part of it.
fn closes(mut slashes: usize, mut depth: usize) -> bool {
    while depth > 0 && slashes >= depth {
        (slashes, depth) = ((slashes - 1) / 2, (depth - 1) / 2);
    }
    // Fewer than at its start: what is around the value ends.
    depth > 0 || slashes.is_multiple_of(2)
}
