//! Writing: each value appends itself to a string.

use std::fmt::Write;

use super::JsonError;

/// A type that can be written as JSON. The derives write it; by hand it's rarely needed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be written as JSON",
    label = "no way to write this as JSON",
    note = "use `String`, `bool`, an integer of 8 to 64 bits (`u64` for a `usize`), `f64`, `Vec<_>`, `Option<_>`, or a type that derives `Output`, `Payload` or `Choice`; in place of a newtype, what is in it"
)]
pub trait ToJson {
    /// Appends the value.
    ///
    /// # Errors
    ///
    /// For a number that isn't finite, with its field's name. What was appended by then isn't JSON.
    fn to_json(&self, out: &mut String) -> Result<(), JsonError>;

    /// Whether a field with this value is left out of its object: only `None` is.
    fn is_absent(&self) -> bool {
        false
    }
}

impl ToJson for str {
    fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
        write_string(self, out);
        Ok(())
    }
}

impl ToJson for String {
    fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
        self.as_str().to_json(out)
    }
}

impl ToJson for bool {
    fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
        out.push_str(if *self { "true" } else { "false" });
        Ok(())
    }
}

impl ToJson for f64 {
    fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
        _ = write!(out, "{:?}", finite(*self)?);
        Ok(())
    }
}

/// The number, unless it's one that neither JSON nor a query has a word for: NaN, or an infinity.
pub(crate) fn finite(number: f64) -> Result<f64, JsonError> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err(JsonError::new(format!("is {number}, not a finite number")))
    }
}

macro_rules! integers {
    ($($integer:ident)+) => {$(
        impl ToJson for $integer {
            fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
                _ = write!(out, "{self}");
                Ok(())
            }
        }
    )+};
}

integers!(i8 u8 i16 u16 i32 u32 i64 u64);

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
        match self {
            Some(value) => value.to_json(out),
            None => {
                out.push_str("null");
                Ok(())
            }
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: ToJson> ToJson for [T] {
    fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
        out.push('[');
        for (index, item) in self.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            item.to_json(out).map_err(|error| error.in_item(index))?;
        }
        out.push(']');
        Ok(())
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
        self.as_slice().to_json(out)
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn to_json(&self, out: &mut String) -> Result<(), JsonError> {
        (**self).to_json(out)
    }

    fn is_absent(&self) -> bool {
        (**self).is_absent()
    }
}

/// Writes an object's fields, those that are absent left out. For derives.
#[doc(hidden)]
pub struct ObjectWriter<'o> {
    out: &'o mut String,
    first: bool,
}

impl<'o> ObjectWriter<'o> {
    pub fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    pub fn field(&mut self, name: &str, value: &impl ToJson) -> Result<(), JsonError> {
        if value.is_absent() {
            return Ok(());
        }
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        write_string(name, self.out);
        self.out.push(':');
        value.to_json(self.out).map_err(|error| error.in_field(name))
    }

    pub fn close(self) {
        self.out.push('}');
    }
}

/// Appends a string in quotes.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        from = at + 1;
        if escaped.is_empty() {
            _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escaped);
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}
