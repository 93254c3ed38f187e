//! Undoes the escapes that a secret may be written with. Each of these answers `None` when there's nothing to undo.

use memchr::{memchr, memchr3};

/// Undoes one kind of escape, in all of a text.
type Decode = fn(&[u8]) -> Option<Vec<u8>>;

/// All kinds.
pub(super) const ALL: &[Decode] = &[percent, backslash, html, folded];

/// `%73` → `s`.
fn percent(text: &[u8]) -> Option<Vec<u8>> {
    replace(text, b'%', |rest| {
        let [a, b, ..] = rest else { return None };
        Some((vec![hex_pair(*a, *b)?], 2))
    })
}

/// `\u0073`, `\U00000073`, `\x73`, `\163`, `\/`, `\n` and the like, as JSON, JavaScript, Python, C and most languages write
/// them. What is octal has three digits: before fewer, a backslash says nothing.
fn backslash(text: &[u8]) -> Option<Vec<u8>> {
    replace(text, b'\\', |rest| match rest {
        [b'u', digits @ ..] => utf16(digits).map(|(bytes, used)| (bytes, used + 1)),
        [b'U', digits @ ..] => Some((utf8(hex_four(digits)? << 16 | hex_four(digits.get(4..)?)?), 9)),
        [b'x', a, b, ..] => Some((vec![hex_pair(*a, *b)?], 3)),
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            Some((vec![(a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')], 3))
        }
        [b'n', ..] => Some((vec![b'\n'], 1)),
        [b'r', ..] => Some((vec![b'\r'], 1)),
        [b't', ..] => Some((vec![b'\t'], 1)),
        [b'b', ..] => Some((vec![8], 1)),
        [b'f', ..] => Some((vec![12], 1)),
        [other, ..] => Some((vec![*other], 1)),
        [] => None,
    })
}

/// What follows `\u`: four digits, perhaps with the other half of a pair, or any number of them in braces.
fn utf16(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    if let Some(inside) = rest.strip_prefix(b"{") {
        let (code, digits) = number(inside, 16)?;
        return (inside.get(digits) == Some(&b'}')).then(|| (utf8(code), digits + 2));
    }
    let high = hex_four(rest)?;
    if (0xd800..0xdc00).contains(&high)
        && let Some(low) = rest.get(4..).and_then(|r| r.strip_prefix(b"\\u")).and_then(hex_four)
        && (0xdc00..0xe000).contains(&low)
    {
        return Some((utf8(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 10));
    }
    Some((utf8(high), 4))
}

/// `&#115;`, `&#x73;`, `&amp;` and the other four that every reader knows.
fn html(text: &[u8]) -> Option<Vec<u8>> {
    const NAMED: &[(&[u8], u8)] =
        &[(b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"quot", b'"'), (b"apos", b'\'')];
    replace(text, b'&', |rest| {
        let (bytes, used) = match rest {
            [b'#', b'x' | b'X', digits @ ..] => {
                number(digits, 16).map(|(code, used)| (utf8(code), used + 2))?
            }
            [b'#', digits @ ..] => number(digits, 10).map(|(code, used)| (utf8(code), used + 1))?,
            _ => {
                let named = |(name, _): &&(&[u8], u8)| {
                    rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                };
                NAMED.iter().find(named).map(|(name, byte)| (vec![*byte], name.len()))?
            }
        };
        Some((bytes, used + usize::from(rest.get(used) == Some(&b';'))))
    })
}

/// Lines put together again, and the zero bytes of two-byte characters left out: a long base64 text is often folded.
fn folded(text: &[u8]) -> Option<Vec<u8>> {
    memchr3(b'\n', b'\r', 0, text)?;
    let mut whole = vec![0; text.len()];
    let mut length = 0;
    // Most JSON that comes back is indented: without a branch, a byte costs next to nothing.
    for &byte in text {
        if let Some(place) = whole.get_mut(length) {
            *place = byte;
        }
        length += usize::from(!matches!(byte, b'\n' | b'\r' | b'\t' | b' ' | 0));
    }
    whole.truncate(length);
    Some(whole)
}

/// Replaces what `escape` understands after each `mark`: it's given what follows, and answers what it means and how
/// many bytes it takes.
fn replace(text: &[u8], mark: u8, escape: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Option<Vec<u8>> {
    memchr(mark, text)?;
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut changed = false;
    while let Some(at) = memchr(mark, rest) {
        let (before, from) = rest.split_at(at);
        plain.extend_from_slice(before);
        let (_, after) = from.split_at(1);
        match escape(after) {
            Some((bytes, used)) => {
                plain.extend_from_slice(&bytes);
                rest = after.get(used..).unwrap_or_default();
                changed = true;
            }
            None => {
                plain.push(mark);
                rest = after;
            }
        }
    }
    plain.extend_from_slice(rest);
    changed.then_some(plain)
}

fn hex_pair(a: u8, b: u8) -> Option<u8> {
    let digit = |c: u8| (c as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(a)? << 4 | digit(b)?)
}

fn hex_four(rest: &[u8]) -> Option<u32> {
    let [a, b, c, d, ..] = rest else { return None };
    Some(u32::from(hex_pair(*a, *b)?) << 8 | u32::from(hex_pair(*c, *d)?))
}

/// A number, and how many digits it has: zeros before it may be as many as one likes.
fn number(rest: &[u8], radix: u32) -> Option<(u32, usize)> {
    let digits: String = rest.iter().map(|b| *b as char).take_while(|c| c.is_digit(radix)).collect();
    Some((u32::from_str_radix(&digits, radix).ok()?, digits.len()))
}

/// A character's bytes; half a pair has none.
fn utf8(code: u32) -> Vec<u8> {
    char::from_u32(code).map(|c| c.to_string().into_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(decode: Decode, text: &str) -> Option<String> {
        decode(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(undone(percent, "a%62%63%zz%6").as_deref(), Some("abc%zz%6"));
        assert_eq!(
            undone(backslash, r#"\u0061\x62\/\"\\\n\ud83d\ude00\u{63}\q"#).as_deref(),
            Some("ab/\"\\\n😀cq")
        );
        assert_eq!(
            undone(backslash, r"\U00000061\142\u{0000000063}\0\12\400\U1F600\u{63").as_deref(),
            Some(r"abc012400\U1F600\u{63")
        );
        assert_eq!(
            undone(html, "&#000000000097;&#x00000000062;c&#99999999999;").as_deref(),
            Some("abc&#99999999999;")
        );
        assert_eq!(undone(html, "&#97;&#x62;&amp;&LT;&#99&nbsp;&").as_deref(), Some("ab&<c&nbsp;&"));
        assert_eq!(undone(folded, "a\r\n b\0c").as_deref(), Some("abc"));
    }

    #[test]
    fn text_without_escapes_is_left_alone() {
        for decode in ALL {
            assert_eq!(undone(*decode, "plain text, 100"), None);
        }
        assert_eq!(undone(percent, "100%"), None);
        assert_eq!(undone(backslash, "\\"), None);
        assert_eq!(undone(html, "a & b"), None);
    }
}
