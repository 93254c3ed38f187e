//! Reading: a cursor over one JSON text, and the types that can be read from it.

use std::borrow::Cow;

use super::JsonError;
use super::escape::unescape;

/// How deep a text may nest, in objects and arrays. Skipping recurses, and a tool's stack is small.
const DEPTH_MAX: u32 = 128;

/// A type that can be read from JSON. The derives write it; by hand it's rarely needed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read from JSON",
    label = "no way to read this from JSON",
    note = "use `String`, `bool`, an integer of 8 to 64 bits (`u64` for a `usize`), `f64`, `Vec<_>`, `Option<_>`, or a type that derives `Args`, `Output`, `Reply` or `Choice`; in place of a newtype, what is in it"
)]
pub trait FromJson: Sized {
    /// Why a value can't be read from an upstream's reply, where it can't. A field of such a type in a struct that derives
    /// `Output` or `Reply` doesn't compile, and this is what its author reads.
    const NO_REPLY: Option<&'static str> = None;

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// When the text isn't JSON or holds another kind of value.
    fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError>;

    /// What a field that isn't there amounts to: nothing, unless it's an `Option`.
    #[must_use]
    fn when_absent() -> Option<Self> {
        None
    }
}

/// A cursor over one JSON text.
pub struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
}

/// The fields of an object, as a derive reads them: a name, and the reader before its value.
type Object<'f> = &'f mut dyn FnMut(&mut Reader<'_>, &str) -> Result<(), JsonError>;

impl<'t> Reader<'t> {
    /// Reads a whole text as one value.
    ///
    /// # Errors
    ///
    /// When the text isn't JSON, has more after its value, or holds another kind of value.
    pub fn read<T: FromJson>(text: &'t str) -> Result<T, JsonError> {
        let mut reader = Self { text, at: 0, depth: 0 };
        let value = T::from_json(&mut reader)?;
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.error("something follows the JSON value")),
        }
    }

    /// Reads an object, calling `field` before each value with the name. A name that is no text, for half a surrogate
    /// pair in it, is given as it's written: no field has it.
    ///
    /// # Errors
    ///
    /// When there's no object here, or `field` fails.
    pub fn object(&mut self, field: Object<'_>) -> Result<(), JsonError> {
        self.open(b'{', "an object")?;
        if self.eat(b'}') {
            return self.close();
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.error("an object's field needs a name in quotes"));
            }
            let written = self.written()?;
            self.want(b':')?;
            field(self, unescape(written).as_deref().unwrap_or(written))?;
            if self.eat(b',') {
                continue;
            }
            self.want(b'}')?;
            return self.close();
        }
    }

    /// Reads an array, calling `item` before each value with its index.
    ///
    /// # Errors
    ///
    /// When there's no array here, or `item` fails.
    pub fn array(
        &mut self,
        item: &mut dyn FnMut(&mut Self, usize) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.open(b'[', "an array")?;
        if self.eat(b']') {
            return self.close();
        }
        for index in 0.. {
            item(self, index)?;
            if self.eat(b',') {
                continue;
            }
            self.want(b']')?;
            break;
        }
        self.close()
    }

    /// Reads a string.
    ///
    /// # Errors
    ///
    /// When there's no string here, or it holds an escape that isn't JSON's or half a surrogate pair.
    pub fn string(&mut self) -> Result<Cow<'t, str>, JsonError> {
        let written = self.written()?;
        unescape(written).ok_or_else(|| self.error("a string holds half a surrogate pair"))
    }

    /// Reads an integer as its sign and magnitude, exactly. `5.0` and `0.5e1` are five, as JSON Schema has it.
    ///
    /// # Errors
    ///
    /// When there's no integer here, or it needs more than 64 bits.
    pub fn integer(&mut self) -> Result<(bool, u64), JsonError> {
        let number = self.number("an integer")?;
        let (negative, unsigned) = match number.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, number),
        };
        let Some((digits, zeros)) = whole(unsigned) else {
            return Err(JsonError::new(format!("should be an integer, is {}", shorten(number))));
        };
        magnitude(digits, zeros).map(|magnitude| (negative, magnitude)).ok_or_else(out_of_range)
    }

    /// Reads a number.
    ///
    /// # Errors
    ///
    /// When there's no number here, or it's too large for an `f64`.
    pub fn float(&mut self) -> Result<f64, JsonError> {
        match self.number("a number")?.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(out_of_range()),
        }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    ///
    /// When there's neither.
    pub fn boolean(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| true),
            Some(b'f') => self.word("false").map(|()| false),
            _ => Err(self.unexpected("a boolean")),
        }
    }

    /// Reads `null` if that's what stands here, and says whether it was.
    ///
    /// # Errors
    ///
    /// When the word begins as `null` and goes on otherwise.
    pub fn null(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'n') => self.word("null").map(|()| true),
            _ => Ok(false),
        }
    }

    /// Reads one value of any kind and forgets it. A string in it may hold half a surrogate pair, which is JSON.
    ///
    /// # Errors
    ///
    /// When the text isn't JSON.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.object(&mut |reader, _| reader.skip()),
            Some(b'[') => self.array(&mut |reader, _| reader.skip()),
            Some(b'"') => self.written().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.number("a value").map(drop),
        }
    }

    /// The next byte that isn't white space, left where it is.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
        self.at += blank;
        rest.get(blank).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    fn want(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(self.error(&format!("`{}` is missing", char::from(byte))))
    }

    fn open(&mut self, byte: u8, what: &str) -> Result<(), JsonError> {
        self.expect(byte, what)?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("the JSON nests too deeply"));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), JsonError> {
        self.depth -= 1;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// A number's text, checked against JSON's grammar.
    fn number(&mut self, what: &str) -> Result<&'t str, JsonError> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.unexpected(what));
        }
        let rest = &self.text[self.at..];
        let end = rest
            .bytes()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let number = &rest[..end];
        if !is_number(number) {
            return Err(self.error(&format!("`{}` isn't a number", shorten(number))));
        }
        self.at += end;
        Ok(number)
    }

    /// What stands between a string's quotes. Its escapes are JSON's; whether they are a text is left open.
    fn written(&mut self) -> Result<&'t str, JsonError> {
        self.expect(b'"', "a string")?;
        let text = self.text;
        let from = self.at;
        loop {
            let rest = &text.as_bytes()[self.at..];
            let run = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
                .ok_or_else(|| self.error("a string doesn't end"))?;
            self.at += run + 1;
            match &rest[run..] {
                [b'"', ..] => return Ok(&text[from..self.at - 1]),
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 1,
                [b'\\', b'u', digits @ ..] if begins_with_hex(digits) => self.at += 5,
                [b'\\', ..] => return Err(self.error("a string holds an unknown escape")),
                _ => return Err(self.error("a string holds a control character")),
            }
        }
    }

    fn error(&self, problem: &str) -> JsonError {
        JsonError::new(format!("{problem} (at byte {})", self.at))
    }

    /// Another kind of value than the one wanted.
    fn unexpected(&mut self, wanted: &str) -> JsonError {
        let found = match self.peek() {
            None => return JsonError::new("the JSON ends too early"),
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(_) => return self.error("this isn't JSON"),
        };
        JsonError::new(format!("should be {wanted}, is {found}"))
    }
}

/// Reads a field's value into its slot. For derives.
#[doc(hidden)]
pub fn read_field<T: FromJson>(
    slot: &mut Option<T>,
    reader: &mut Reader<'_>,
    name: &str,
) -> Result<(), JsonError> {
    if slot.is_some() {
        return Err(JsonError::new("is given twice").in_field(name));
    }
    *slot = Some(T::from_json(reader).map_err(|error| error.in_field(name))?);
    Ok(())
}

/// Takes a field's value, or what its absence amounts to. For derives.
#[doc(hidden)]
pub fn take_field<T: FromJson>(slot: Option<T>, name: &str) -> Result<T, JsonError> {
    slot.or_else(T::when_absent).ok_or_else(|| JsonError::new("is missing").in_field(name))
}

/// A field that a closed object doesn't have. For derives.
#[doc(hidden)]
pub fn unknown_field(name: &str) -> Result<(), JsonError> {
    Err(JsonError::new("there's no such field").in_field(shorten(name)))
}

impl FromJson for String {
    fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        reader.string().map(Cow::into_owned)
    }
}

impl FromJson for bool {
    fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        reader.boolean()
    }
}

impl FromJson for f64 {
    fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        reader.float()
    }
}

macro_rules! integers {
    ($($signed:ident $unsigned:ident),+) => {$(
        impl FromJson for $signed {
            fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
                let (negative, magnitude) = reader.integer()?;
                let value = if negative { 0i64.checked_sub_unsigned(magnitude) } else { magnitude.try_into().ok() };
                value.and_then(|value| value.try_into().ok()).ok_or_else(out_of_range)
            }
        }

        impl FromJson for $unsigned {
            fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
                let (negative, magnitude) = reader.integer()?;
                let value = if negative && magnitude > 0 { None } else { magnitude.try_into().ok() };
                value.ok_or_else(out_of_range)
            }
        }
    )+};
}

integers!(i8 u8, i16 u16, i32 u32, i64 u64);

impl<T: FromJson> FromJson for Option<T> {
    const NO_REPLY: Option<&'static str> = T::NO_REPLY;

    fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        if reader.null()? { Ok(None) } else { T::from_json(reader).map(Some) }
    }

    fn when_absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    const NO_REPLY: Option<&'static str> = T::NO_REPLY;

    fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        let mut items = Self::new();
        reader.array(&mut |reader, index| {
            items.push(T::from_json(reader).map_err(|error| error.in_item(index))?);
            Ok(())
        })?;
        Ok(items)
    }
}

fn out_of_range() -> JsonError {
    JsonError::new("is a number out of range")
}

/// Whether the digits of a `\u` escape stand here.
fn begins_with_hex(digits: &[u8]) -> bool {
    digits.get(..4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// JSON's grammar of numbers: no leading zeros, no bare dot, digits after a dot and an exponent.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

/// A number's digits without those that say nothing, and how many zeros stand behind them: those of `1.50e3` are `1`, `5`
/// and two zeros. `None` if it has a fraction.
fn whole(unsigned: &str) -> Option<([&str; 2], u64)> {
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let after = after.trim_end_matches('0');
    let kept = if after.is_empty() { before.trim_end_matches('0') } else { before };
    if kept.is_empty() && after.is_empty() {
        return Some((["", ""], 0));
    }
    // What an exponent beyond 64 bits amounts to, no digits make up for.
    let beyond = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
    let exponent: i64 = exponent.parse().unwrap_or(beyond);
    let zeros = exponent
        .saturating_add_unsigned((before.len() - kept.len()) as u64)
        .saturating_sub_unsigned(after.len() as u64);
    u64::try_from(zeros).ok().map(|zeros| ([kept, after], zeros))
}

/// The number that has these digits, and zeros behind them. `None` if it needs more than 64 bits.
fn magnitude(digits: [&str; 2], zeros: u64) -> Option<u64> {
    let mut digits = digits.into_iter().flat_map(str::bytes);
    let append = |number: u64, digit: u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    match digits.try_fold(0, append)? {
        0 => Some(0),
        number => number.checked_mul(10_u64.checked_pow(u32::try_from(zeros).ok()?)?),
    }
}

/// Enough of a text from outside to recognise it by.
fn shorten(text: &str) -> &str {
    match text.char_indices().nth(64) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
