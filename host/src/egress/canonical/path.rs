//! One form for every path.
//!
//! Upstreams, and proxies before them, disagree on what an unusual path means. So every spelling that two readers
//! could take for two paths is refused, and what is left is written in one way only.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The longest path, encoded, in bytes: half of the 8 KiB that common servers take for the whole request line.
pub(crate) const PATH_BYTES_MAX: usize = 4_096;

/// What is encoded inside a segment: all but the unreserved characters and those that RFC 3986 gives no meaning
/// there. `;` is encoded because some servers cut path parameters off at it, `'` because URL libraries differ on it.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=');

/// A path in its one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanonicalPath {
    /// As it is sent.
    pub(crate) encoded: String,
    /// Its segments, decoded; the last one is empty when the path ends with a slash.
    pub(crate) segments: Vec<String>,
}

/// Brings a path into its one form.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn canonical_path(path: &str) -> Result<CanonicalPath, &'static str> {
    if path.len() > PATH_BYTES_MAX {
        return Err("the path is longer than 4,096 bytes");
    }
    let Some(below) = path.strip_prefix('/') else {
        return Err("the path must start with '/': a connection's host can't be chosen here");
    };
    for byte in path.bytes() {
        match byte {
            b'?' => return Err("the path holds '?': give query parameters apart"),
            b'#' => return Err("the path holds '#'"),
            b'\\' => return Err("the path holds a backslash"),
            b';' => return Err("the path holds ';': some servers cut a path there; encode it if it's meant"),
            0..=b' ' | 0x7f => return Err("the path holds a space or control character: encode it"),
            0x80.. => return Err("the path holds a character beyond ASCII: encode it"),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']' => {
                return Err("the path holds a character that belongs in no path: encode it");
            }
            _ => {}
        }
    }
    let mut encoded = String::with_capacity(path.len());
    let mut segments = Vec::new();
    let mut parts = below.split('/').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() && parts.peek().is_some() {
            return Err("the path holds an empty segment ('//')");
        }
        let segment = decode_segment(part)?;
        encoded.push('/');
        encoded.extend(utf8_percent_encode(&segment, SEGMENT));
        segments.push(segment);
    }
    if encoded.len() > PATH_BYTES_MAX {
        return Err("the path is longer than 4,096 bytes");
    }
    Ok(CanonicalPath { encoded, segments })
}

fn decode_segment(part: &str) -> Result<String, &'static str> {
    let mut escapes = part.split('%');
    escapes.next();
    for after in escapes {
        if !matches!(after.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()) {
            return Err("the path holds a '%' that isn't followed by two hexadecimal digits");
        }
    }
    let segment = percent_decode_str(part)
        .decode_utf8()
        .map_err(|_| "the path holds encoded bytes that aren't UTF-8")?;
    for c in segment.chars() {
        match c {
            '/' => return Err("the path holds an encoded slash"),
            '\\' => return Err("the path holds an encoded backslash"),
            // An upstream that decodes twice would see another path.
            '%' => return Err("the path holds an encoded '%'"),
            _ if c.is_control() => return Err("the path holds an encoded control character"),
            // Full-width and other look-alikes that a server may fold to '.', '/' or '\'.
            '\u{2024}' | '\u{2025}' | '\u{2026}' | '\u{ff0e}' | '\u{ff0f}' | '\u{ff3c}' | '\u{2044}'
            | '\u{2215}' | '\u{29f5}' | '\u{2216}' | '\u{fe52}' | '\u{fe68}' => {
                return Err("the path holds a character that some servers read as '.', '/' or a backslash");
            }
            _ => {}
        }
    }
    // `..;x` is a dot segment to servers that cut at ';'.
    let before_semicolon = segment.split(';').next().unwrap_or_default();
    if matches!(before_semicolon.trim(), "." | "..") {
        return Err("the path holds a dot segment");
    }
    Ok(segment.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trick_is_refused() {
        let tricks = [
            "",
            "v1",
            "http://evil.example/",
            "//evil.example/",
            "/v1//x",
            "//",
            "/.",
            "/..",
            "/v1/../admin",
            "/v1/./x",
            "/%2e%2e/x",
            "/.%2E/x",
            "/%2e",
            "/v1/%2e%2e%2fadmin",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00b",
            "/a\0b",
            "/a%0d%0ab",
            "/a\r\nb",
            "/a b",
            "/a\tb",
            "/%252e%252e/x",
            "/a%25b",
            "/100%25",
            "/a?b=c",
            "/a#b",
            "/é",
            "/%ff",
            "/%c0%ae%c0%ae/x",
            "/%",
            "/%2",
            "/%zz",
            "/a%+1",
            "/..;/x",
            "/..%3b/x",
            "/.;a=b/x",
            "/;/x",
            "/a;b=c",
            "/x/%20..",
            "/..%20/x",
            "/%ef%bc%8e%ef%bc%8e/x",
            "/%e2%88%95",
            "/{id}",
            "/[a]",
            "/a|b",
            "/a\"b",
            "/a<b>",
            "/a^b",
            "/a`b",
            "user@host/",
            "/%7f",
            "/%c2%85",
        ];
        for trick in tricks {
            assert!(canonical_path(trick).is_err(), "{trick:?} was let through");
        }
        assert!(canonical_path(&format!("/{}", "a".repeat(PATH_BYTES_MAX))).is_err());
    }

    #[test]
    fn one_form_for_each_path() {
        for (given, sent) in [
            ("/", "/"),
            ("/v1/invoices/in_1", "/v1/invoices/in_1"),
            ("/v1/%69nvoices", "/v1/invoices"),
            ("/v1/x/", "/v1/x/"),
            ("/a%7eb/%41", "/a~b/A"),
            ("/a%3ab/c%40d", "/a:b/c@d"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b%3b%27", "/a%20b%3B%27"),
            ("/a'b", "/a%27b"),
            ("/...", "/..."),
            ("/.git/a..b", "/.git/a..b"),
        ] {
            let path = canonical_path(given).unwrap();
            assert_eq!(path.encoded, sent, "{given}");
            assert_eq!(canonical_path(&path.encoded).unwrap(), path, "the form of {given} is final");
        }
        assert_eq!(canonical_path("/a/b/").unwrap().segments, ["a", "b", ""]);
    }

    proptest::proptest! {
        #[test]
        fn what_passes_is_final_and_plain(path in "[/.%;a-fA-F0-9é\\\\ ]{0,24}") {
            if let Ok(one) = canonical_path(&path) {
                proptest::prop_assert_eq!(&canonical_path(&one.encoded).unwrap(), &one);
                proptest::prop_assert!(!one.encoded.contains("//") && !one.encoded.contains("/../"));
                let url = reqwest::Url::parse(&format!("https://h{}", one.encoded)).unwrap();
                proptest::prop_assert_eq!(url.path(), one.encoded);
            }
        }
    }
}
