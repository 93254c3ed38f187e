//! Values as text: query parameters, form fields, path segments.

use std::fmt::{Display, Write};

/// A value of a query parameter or a form field. `None` is left out.
///
/// The `Choice` derive makes one of an enum.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a query parameter or a form field",
    note = "use a string, an integer, a `bool`, an `f64`, a type that derives `Choice`, or an `Option` of these"
)]
pub trait Field {
    /// The value's text, not encoded, or `None` if there's nothing to send.
    fn to_text(&self) -> Option<String>;
}

/// A value of one path segment: anything that can be displayed.
pub type PathSegment<'v> = &'v dyn Display;

macro_rules! displayed {
    ($($type:ty)+) => {$(
        impl Field for $type {
            fn to_text(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )+};
}

displayed!(str String bool f64 i8 u8 i16 u16 i32 u32 i64 u64);

impl<T: Field> Field for Option<T> {
    fn to_text(&self) -> Option<String> {
        self.as_ref().and_then(Field::to_text)
    }
}

impl<T: Field + ?Sized> Field for &T {
    fn to_text(&self) -> Option<String> {
        (**self).to_text()
    }
}

/// Puts values into a path's `{}` places, percent-encoded.
///
/// A value that would change which resource is meant is refused here, where the message can name it; the host
/// refuses it as well.
pub(crate) fn fill_path(template: &str, values: &[PathSegment<'_>]) -> Result<String, PathError> {
    let mut parts = template.split("{}");
    let mut path = parts.next().unwrap_or_default().to_owned();
    let mut values = values.iter();
    for part in parts {
        let value = values.next().ok_or(PathError::Template)?.to_string();
        if matches!(value.as_str(), "" | "." | "..") || value.contains(['/', '\\', '\0']) {
            return Err(PathError::Value(value));
        }
        percent_encode(&value, &mut path);
        path.push_str(part);
    }
    if values.next().is_some() { Err(PathError::Template) } else { Ok(path) }
}

/// Why a path can't be built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// There are more or fewer values than places: the tool's own mistake.
    Template,
    /// A value that can't be a path segment.
    Value(String),
}

/// Encodes all but RFC 3986's unreserved characters.
fn percent_encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, PathError, fill_path};

    #[test]
    fn segments_are_encoded() {
        let path = fill_path("/repos/{}/{}/issues/{}", &[&"a b", &"é?#%", &7]);
        assert_eq!(path.unwrap(), "/repos/a%20b/%C3%A9%3F%23%25/issues/7");
        assert_eq!(fill_path("/v1/invoices", &[]).unwrap(), "/v1/invoices");
    }

    #[test]
    fn segments_that_move_the_request_are_refused() {
        for value in ["", ".", "..", "a/b", "a\\b", "a\0b", "../x"] {
            assert_eq!(fill_path("/v1/{}", &[&value]), Err(PathError::Value(value.to_owned())));
        }
        assert!(fill_path("/v1/{}", &[&"..."]).is_ok());
    }

    #[test]
    fn places_and_values_must_agree() {
        assert_eq!(fill_path("/v1/{}", &[]), Err(PathError::Template));
        assert_eq!(fill_path("/v1", &[&1]), Err(PathError::Template));
    }

    #[test]
    fn nothing_is_left_out() {
        assert_eq!(None::<i64>.to_text(), None);
        assert_eq!(Some("x").to_text().as_deref(), Some("x"));
        assert_eq!(Field::to_text(&Some(3u32)).as_deref(), Some("3"));
    }
}
