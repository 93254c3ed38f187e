//! Query parameters and form fields: names and values → one encoded text.

use std::collections::HashSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::shown;

/// What is encoded: all but RFC 3986's unreserved characters. A space becomes `%20`, which query and form readers
/// agree on.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes pairs in the order given.
///
/// # Errors
/// The rule that is broken: a name twice, an empty name, a NUL, or more than `bytes_max` encoded.
pub(crate) fn encode_pairs(
    what: &str,
    pairs: &[(String, String)],
    bytes_max: usize,
) -> Result<String, String> {
    let mut seen = HashSet::new();
    let mut encoded = String::new();
    for (name, value) in pairs {
        if name.is_empty() {
            return Err(format!("a {what} has no name"));
        }
        if name.contains('\0') || value.contains('\0') {
            return Err(format!("the {what} {} holds a NUL", shown(name)));
        }
        if !seen.insert(name.as_str()) {
            return Err(format!("the {what} {} is there twice", shown(name)));
        }
        if !encoded.is_empty() {
            encoded.push('&');
        }
        push_pair(&mut encoded, name, value);
        if encoded.len() > bytes_max {
            return Err(format!("the {what}s are longer than {bytes_max} bytes together"));
        }
    }
    Ok(encoded)
}

/// Appends `name=value`, both encoded.
pub(crate) fn push_pair(to: &mut String, name: &str, value: &str) {
    to.extend(utf8_percent_encode(name, COMPONENT));
    to.push('=');
    to.extend(utf8_percent_encode(value, COMPONENT));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(pairs: &[(&str, &str)]) -> Result<String, String> {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        encode_pairs("form field", &pairs, 100)
    }

    #[test]
    fn names_and_values_are_encoded_in_one_way() {
        assert_eq!(encode(&[]).unwrap(), "");
        assert_eq!(
            encode(&[("metadata[order]", "a b&c=d"), ("q", "é+~\r\n")]).unwrap(),
            "metadata%5Border%5D=a%20b%26c%3Dd&q=%C3%A9%2B~%0D%0A"
        );
    }

    #[test]
    fn a_name_may_appear_once() {
        assert_eq!(encode(&[("a", "1"), ("a", "2")]).unwrap_err(), "the form field \"a\" is there twice");
        assert!(encode(&[("a", "1"), ("A", "2")]).is_ok());
    }

    #[test]
    fn empty_names_nuls_and_floods_are_refused() {
        assert!(encode(&[("", "1")]).is_err());
        assert!(encode(&[("a\0", "1")]).is_err());
        assert!(encode(&[("a", "\0")]).is_err());
        assert!(encode(&[("a", &"x".repeat(99))]).is_err());
    }
}
