//! What the escapes in a string stand for.

use std::borrow::Cow;

/// The text of what stands between a string's quotes, whose escapes are JSON's. `None` where one is half a surrogate
/// pair: JSON has it, a text doesn't.
pub(super) fn unescape(written: &str) -> Option<Cow<'_, str>> {
    let mut text = String::new();
    let mut rest = written;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let (char, after) = escaped(escape)?;
        text.push(char);
        rest = after;
    }
    if text.is_empty() {
        return Some(Cow::Borrowed(written));
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// The character of an escape, from behind its backslash, and what follows.
fn escaped(escape: &str) -> Option<(char, &str)> {
    let mut rest = escape.chars();
    let char = match rest.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(rest.as_str()),
        itself => itself,
    };
    Some((char, rest.as_str()))
}

/// The character of a `\u` escape, or of a surrogate pair of them.
fn unicode(digits: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(digits)?;
    if let Some(char) = char::from_u32(first.into()) {
        return Some((char, rest));
    }
    let (second, rest) = unit(rest.strip_prefix("\\u")?)?;
    let char = char::decode_utf16([first, second]).next()?.ok()?;
    Some((char, rest))
}

/// Four digits, and what follows.
fn unit(digits: &str) -> Option<(u16, &str)> {
    let (digits, rest) = digits.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}
