//! Values as text: query parameters, form fields, path segments.

use std::fmt::{Display, Write};

use crate::json::{JsonError, finite};

/// A value of a query parameter or a form field. `None` is left out.
///
/// The `Choice` derive makes one of an enum.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a query parameter or a form field",
    note = "use a string, an integer of 8 to 64 bits (`u64` for a `usize`), a `bool`, an `f64`, a type that derives `Choice`, or an `Option` of these; in place of a newtype, what is in it"
)]
pub trait Field {
    /// The value's text, not encoded, or `None` if there's nothing to send.
    ///
    /// # Errors
    ///
    /// For a number that isn't finite.
    fn to_text(&self) -> Result<Option<String>, JsonError>;
}

/// A value that can stand in a path: anything that can be displayed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a value in a path",
    label = "no text to put into the path",
    note = "use a string or a number; of a type that derives `Choice`, its `.name()`; of a newtype, what is in it"
)]
pub trait PathValue: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display> PathValue for T {}

/// A value of one path segment.
pub type PathSegment<'v> = &'v dyn PathValue;

macro_rules! displayed {
    ($($type:ty)+) => {$(
        impl Field for $type {
            fn to_text(&self) -> Result<Option<String>, JsonError> {
                Ok(Some(self.to_string()))
            }
        }
    )+};
}

displayed!(str String bool i8 u8 i16 u16 i32 u32 i64 u64);

/// Written in full, `5` and `0.000001`: whoever reads it may know no exponents.
impl Field for f64 {
    fn to_text(&self) -> Result<Option<String>, JsonError> {
        // Adding zero makes `0` of `-0`.
        Ok(Some((finite(*self)? + 0.0).to_string()))
    }
}

impl<T: Field> Field for Option<T> {
    fn to_text(&self) -> Result<Option<String>, JsonError> {
        self.as_ref().map_or(Ok(None), Field::to_text)
    }
}

impl<T: Field + ?Sized> Field for &T {
    fn to_text(&self) -> Result<Option<String>, JsonError> {
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
        let moves = |c: char| matches!(c, '/' | '\\' | '%') || c.is_control();
        if matches!(value.as_str(), "" | "." | "..") || value.contains(moves) {
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
    use crate::Reader;

    #[test]
    fn segments_are_encoded() {
        let path = fill_path("/repos/{}/{}/issues/{}", &[&"a b", &"é?#", &7]);
        assert_eq!(path.unwrap(), "/repos/a%20b/%C3%A9%3F%23/issues/7");
        assert_eq!(fill_path("/v1/invoices", &[]).unwrap(), "/v1/invoices");
    }

    #[test]
    fn segments_that_move_the_request_are_refused() {
        for value in ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "100%", "../x"] {
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
        assert_eq!(None::<i64>.to_text(), Ok(None));
        assert_eq!(Some("x").to_text().unwrap().as_deref(), Some("x"));
        assert_eq!(Field::to_text(&Some(3u32)).unwrap().as_deref(), Some("3"));
    }

    #[test]
    fn numbers_are_written_plainly() {
        for (number, text) in
            [(5.0_f64, "5"), (-0.0, "0"), (0.000_001, "0.000001"), (-1e21, "-1000000000000000000000")]
        {
            assert_eq!(number.to_text().unwrap().as_deref(), Some(text));
        }
        for number in [f64::MAX, -f64::MIN_POSITIVE] {
            let text = number.to_text().unwrap().unwrap();
            assert!(!text.contains('e') && Reader::read::<f64>(&text) == Ok(number), "{text}");
        }
        assert_eq!(Some(f64::NAN).to_text().unwrap_err().to_string(), "is NaN, not a finite number");
    }
}
