//! Form encoding → names and values, as they were meant.
//!
//! Strict: what two readers could take apart in two ways is refused. Whether a name comes twice, or isn't declared,
//! is for the rules behind this to say; they see every pair, in the order given.

use percent_encoding::percent_decode_str;

use crate::refusal::{Code, Refusal};

/// Names and values, decoded, in the order given.
pub(super) type Pairs = Vec<(String, String)>;

/// Decodes a query or a form. `+` is a space and brackets stand for themselves, as the SDKs write them.
///
/// # Errors
/// [`Code::InvalidRequest`] with the rule that is broken; `what` says where.
pub(super) fn decode(what: &str, text: &str) -> Result<Pairs, Refusal> {
    if text.is_empty() {
        return Ok(Pairs::new());
    }
    text.split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or("a part of it isn't NAME=VALUE")?;
            Ok((component(name)?, component(value)?))
        })
        .collect::<Result<_, &str>>()
        .map_err(|rule| Refusal::new(Code::InvalidRequest, format!("the {what} can't be read: {rule}")))
}

fn component(text: &str) -> Result<String, &'static str> {
    let mut escapes = text.split('%');
    escapes.next();
    for after in escapes {
        if !matches!(after.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()) {
            return Err("it holds a '%' that isn't followed by two hexadecimal digits");
        }
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("it holds a space, a control character or one beyond ASCII: encode it");
    }
    // Before the escapes are decoded: `%2B` is a plus sign.
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err("it holds encoded bytes that aren't UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    #[test]
    fn what_sdks_write_is_read_as_it_was_meant() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (text, pairs) in [
            ("", vec![]),
            ("a=1", vec![pair("a", "1")]),
            ("a=", vec![pair("a", "")]),
            ("a=b=c", vec![pair("a", "b=c")]),
            ("expand[0]=customer", vec![pair("expand[0]", "customer")]),
            ("metadata%5Border%5D=x", vec![pair("metadata[order]", "x")]),
            ("d=%5Bconv%3A1%5D+two%20words%2B", vec![pair("d", "[conv:1] two words+")]),
            ("n=caf%C3%A9;x", vec![pair("n", "café;x")]),
            // Duplicates and names without text are for the rules behind this.
            ("a=1&a=2&=3", vec![pair("a", "1"), pair("a", "2"), pair("", "3")]),
        ] {
            assert_eq!(decode("query", text).unwrap(), pairs, "{text}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "a",
            "a&b=1",
            "&",
            "a=1&",
            "&a=1",
            "a=1&&b=2",
            "a=%",
            "a=%2",
            "a=%zz",
            "a=%+1",
            "%=1",
            "a=%ff",
            "a=%c0%ae",
            "a=%ed%a0%80",
            "a=é",
            "a=b c",
            "a=\0",
            "a=\r\n",
        ] {
            let refusal = decode("form", text).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidRequest, "{text:?}");
            assert!(refusal.message.starts_with("the form can't be read: "), "{}", refusal.message);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_comes_back(pairs in proptest::collection::vec((".{0,8}", ".{0,8}"), 0..4)) {
            let mut text = String::new();
            for (name, value) in &pairs {
                if !text.is_empty() {
                    text.push('&');
                }
                text.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
                text.push('=');
                text.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
            proptest::prop_assert_eq!(decode("query", &text).unwrap(), pairs);
        }
    }
}
