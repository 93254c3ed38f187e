//! The media type of a body whose bytes the host doesn't look into (RFC 9110, 8.3.1).

use super::{FORM, header_value, is_json, shown};

/// The longest media type with its parameters, in bytes: seven times the longest boundary there may be (RFC 2046, 5.1.1).
const MEDIA_TYPE_BYTES_MAX: usize = 512;
/// The most parameters: types that are in use have one or two.
const PARAMETERS_MAX: usize = 8;

/// A media type without its parameters.
#[must_use]
pub(crate) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The one form of a media type: itself and its parameters' names in lower case, their values as they were given, a
/// boundary's case above all. Types that the host looks into have to come as what they are.
///
/// # Errors
/// The rule that is broken.
pub(super) fn raw_media_type(text: &str) -> Result<String, String> {
    let lower = essence(text).to_ascii_lowercase();
    if lower == FORM || is_json(&lower) {
        return Err(format!("a body of type {lower} must be given as JSON or as form fields, not as bytes"));
    }
    let invalid = || format!("the content type {} isn't valid", shown(text));
    header_value("content-type", text)?;
    if text.len() > MEDIA_TYPE_BYTES_MAX {
        return Err(format!("the content type is longer than {MEDIA_TYPE_BYTES_MAX} bytes"));
    }
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match lower.split_once('/') {
        Some((kind, subtype)) if fits(kind) && fits(subtype) => {}
        _ => return Err(invalid()),
    }
    let mut canonical = lower;
    let mut names: Vec<String> = Vec::new();
    // No value holds a semicolon, in quotes or not.
    for part in text.split(';').skip(1) {
        let (name, value) = parameter(part.trim()).ok_or_else(invalid)?;
        if names.contains(&name) {
            return Err(format!("the content type has the parameter {name} twice"));
        }
        if names.len() == PARAMETERS_MAX {
            return Err(format!("the content type has more than {PARAMETERS_MAX} parameters"));
        }
        if names_read_type(value) {
            return Err(format!(
                "the content type's parameter {name} names a type that the host reads itself"
            ));
        }
        canonical.push_str(&format!("; {name}={value}"));
        names.push(name);
    }
    Ok(canonical)
}

/// A parameter's name, in lower case, and its value: `NAME=TOKEN` or `NAME="TEXT"`. What stands in quotes holds nothing that
/// a reader who doesn't mind them would take for its end, or for the beginning of another parameter or type.
fn parameter(part: &str) -> Option<(String, &str)> {
    let (name, value) = part.split_once('=')?;
    let fits = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => !quoted.bytes().any(|b| b"\"\\,".contains(&b)),
        None => is_token(value),
    };
    (fits && is_token(name)).then(|| (name.to_ascii_lowercase(), value))
}

/// A token of RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

/// Whether an upstream that looks for a type's name anywhere in the header would find JSON or a form in this value, and read
/// as one what nobody has checked.
fn names_read_type(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    lower.contains('/') && (lower.contains("json") || lower.contains("urlencoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_kept_as_they_were_given() {
        for (given, sent) in [
            ("text/csv", "text/csv"),
            ("Text/CSV;Charset=UTF-8", "text/csv; charset=UTF-8"),
            ("text/csv ; charset=utf-8;header=present", "text/csv; charset=utf-8; header=present"),
            (
                "multipart/form-data; boundary=----WebKitFormBoundaryAbC",
                "multipart/form-data; boundary=----WebKitFormBoundaryAbC",
            ),
            (
                "Multipart/Related; BOUNDARY=\"=_A b/C:1\"; type=\"text/XML\"",
                "multipart/related; boundary=\"=_A b/C:1\"; type=\"text/XML\"",
            ),
            ("text/plain; format=\"\"", "text/plain; format=\"\""),
        ] {
            assert_eq!(raw_media_type(given).unwrap(), sent);
            assert_eq!(raw_media_type(sent).unwrap(), sent, "it's the one form");
            assert_eq!(essence(sent), sent.split("; ").next().unwrap());
        }
    }

    #[test]
    fn a_parameter_hides_no_other_type() {
        for (given, rule) in [
            ("text/csv;", "isn't valid"),
            ("text/csv;;charset=utf-8", "isn't valid"),
            ("text/csv; charset", "isn't valid"),
            ("text/csv; charset=", "isn't valid"),
            ("text/csv; charset =utf-8", "isn't valid"),
            ("text/csv; =utf-8", "isn't valid"),
            ("text/csv; charset=utf 8", "isn't valid"),
            ("text/csv; a=b, application/json", "isn't valid"),
            ("text/csv, application/json", "isn't valid"),
            ("text/csv; a=\"b, text/html\"", "isn't valid"),
            ("text/csv; a=\"b; charset=utf-7\"", "isn't valid"),
            ("text/csv; a=\"b\\\"; c=\"d\"", "isn't valid"),
            ("text/csv; a=\"b", "isn't valid"),
            ("text/csv; a=\"", "isn't valid"),
            ("text/csv; a=\"b\"c", "isn't valid"),
            ("text/csv; a=\"b\r\nx: y\"", "visible ASCII"),
            ("text/csv; a=\"b\tc\"", "visible ASCII"),
            ("text/csv; a=é", "visible ASCII"),
            ("text/csv; charset=utf-8; Charset=utf-7", "charset twice"),
            ("text/csv; a=\"Application/JSON\"", "a names a type"),
            ("text/csv; a=\"x/x-www-form-URLencoded\"", "a names a type"),
            ("application/json; charset=utf-8", "not as bytes"),
            ("application/x-www-form-urlencoded;charset=utf-8", "not as bytes"),
        ] {
            let refused = raw_media_type(given).unwrap_err();
            assert!(refused.contains(rule), "{given:?}: {refused}");
        }
    }

    #[test]
    fn there_is_an_end_to_them() {
        let parameters = |count: u32| (0..count).map(|n| format!("; a{n}=b")).collect::<String>();
        assert!(raw_media_type(&format!("a/b{}", parameters(8))).is_ok());
        assert!(raw_media_type(&format!("a/b{}", parameters(9))).unwrap_err().contains("more than 8"));
        assert!(raw_media_type(&format!("a/b; c={}", "d".repeat(505))).is_ok());
        assert!(
            raw_media_type(&format!("a/b; c={}", "d".repeat(506))).unwrap_err().contains("longer than 512")
        );
    }
}
