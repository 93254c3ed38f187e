//! JSON Schemas of arguments and results.
//!
//! Only the subset that agents' clients survive: every property has a type, every array its items, nothing is
//! referred to, objects are closed. A type that contains itself has no such schema; its `DEPTH` can't be computed,
//! so it doesn't compile.

use crate::json::write_string;

/// A type with a JSON Schema. The derives write it; by hand it's rarely needed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no JSON Schema",
    label = "an agent can't be told what this is",
    note = "use `String`, `bool`, an integer of 8 to 64 bits (`u64` for a `usize`), `f64`, `Vec<_>`, `Option<_>` for a field, or a type that derives `Args`, `Output` or `Choice`; in place of a newtype, what is in it"
)]
pub trait Schema {
    /// How deep values nest.
    const DEPTH: u32;
    /// Whether a field of this type may be left out.
    const OPTIONAL: bool = false;
    /// Which constraints a field of this type can have.
    const CONSTRAINTS: Constraints = Constraints::None;
    /// What a value is, in words, where no field says it: of a tool's arguments, its result, and the items of a list. Empty
    /// for a type that doesn't say.
    const DESCRIPTION: &'static str = "";
    /// Why a value can't stand in a tool's arguments, where it can't. A field of such a type in a struct that derives
    /// `Args` doesn't compile, and this is what its author reads.
    const NO_ARGUMENT: Option<&'static str> = None;

    /// Appends the schema, with what the field says of itself.
    fn write(facets: &Facets, out: &mut String);
}

/// The constraints that a type's schema has a place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraints {
    /// None.
    None,
    /// `min` and `max`.
    Number,
    /// `min_len`, `max_len` and `pattern`.
    Text,
    /// `min_items` and `max_items`.
    List,
}

/// What a field says of itself, beyond its type. Numbers stand as JSON text.
#[derive(Debug, Clone, Copy)]
pub struct Facets {
    /// What the value is, in words.
    pub description: &'static str,
    /// The smallest number allowed.
    pub minimum: Option<&'static str>,
    /// The largest number allowed.
    pub maximum: Option<&'static str>,
    /// A regular expression for a string.
    pub pattern: Option<&'static str>,
    /// The fewest and the most characters, or items.
    pub length: (Option<u32>, Option<u32>),
}

impl Facets {
    /// Nothing said.
    pub const NONE: Self =
        Self { description: "", minimum: None, maximum: None, pattern: None, length: (None, None) };

    fn open(&self, kind: &str, out: &mut String) {
        out.push_str("{\"type\":\"");
        out.push_str(kind);
        out.push('"');
        if !self.description.is_empty() {
            out.push_str(",\"description\":");
            write_string(self.description, out);
        }
    }

    fn number(&self, kind: &str, least: Option<&str>, most: Option<&str>, out: &mut String) {
        self.open(kind, out);
        for (key, bound) in [("minimum", self.minimum.or(least)), ("maximum", self.maximum.or(most))] {
            if let Some(bound) = bound {
                push_number(key, bound, out);
            }
        }
        out.push('}');
    }

    fn length(&self, keys: [&str; 2], out: &mut String) {
        for (key, length) in keys.into_iter().zip([self.length.0, self.length.1]) {
            if let Some(length) = length {
                push_number(key, &length.to_string(), out);
            }
        }
    }
}

fn push_number(key: &str, number: &str, out: &mut String) {
    for part in [",\"", key, "\":", number] {
        out.push_str(part);
    }
}

impl Schema for String {
    const DEPTH: u32 = 0;
    const CONSTRAINTS: Constraints = Constraints::Text;

    fn write(facets: &Facets, out: &mut String) {
        facets.open("string", out);
        facets.length(["minLength", "maxLength"], out);
        if let Some(pattern) = facets.pattern {
            out.push_str(",\"pattern\":");
            write_string(pattern, out);
        }
        out.push('}');
    }
}

impl Schema for bool {
    const DEPTH: u32 = 0;

    fn write(facets: &Facets, out: &mut String) {
        facets.open("boolean", out);
        out.push('}');
    }
}

impl Schema for f64 {
    const DEPTH: u32 = 0;
    const CONSTRAINTS: Constraints = Constraints::Number;

    fn write(facets: &Facets, out: &mut String) {
        facets.number("number", None, None, out);
    }
}

macro_rules! integers {
    ($($type:ident: $least:expr, $most:expr;)+) => {$(
        impl Schema for $type {
            const DEPTH: u32 = 0;
            const CONSTRAINTS: Constraints = Constraints::Number;

            fn write(facets: &Facets, out: &mut String) {
                facets.number("integer", $least, $most, out);
            }
        }
    )+};
}

// 64-bit bounds stay out: clients that read numbers as floats can't hold them.
integers! {
    i8: Some("-128"), Some("127");
    u8: Some("0"), Some("255");
    i16: Some("-32768"), Some("32767");
    u16: Some("0"), Some("65535");
    i32: Some("-2147483648"), Some("2147483647");
    u32: Some("0"), Some("4294967295");
    i64: None, None;
    u64: Some("0"), None;
}

impl<T: Schema> Schema for Option<T> {
    const DEPTH: u32 = T::DEPTH;
    const OPTIONAL: bool = true;
    const CONSTRAINTS: Constraints = T::CONSTRAINTS;
    const NO_ARGUMENT: Option<&'static str> = T::NO_ARGUMENT;

    fn write(facets: &Facets, out: &mut String) {
        T::write(facets, out);
    }
}

impl<T: Schema> Schema for Vec<T> {
    const DEPTH: u32 = {
        assert!(
            !T::OPTIONAL,
            "a list's items can't be `Option`s: no schema here allows null; leave the absent ones out"
        );
        T::DEPTH + 1
    };
    const CONSTRAINTS: Constraints = Constraints::List;
    const NO_ARGUMENT: Option<&'static str> = match T::CONSTRAINTS {
        Constraints::List => Some(
            "a list of lists can't stand in arguments: agents' clients lose the type of its items; write a list of structs \
             that hold a list each",
        ),
        Constraints::None | Constraints::Number | Constraints::Text => T::NO_ARGUMENT,
    };

    fn write(facets: &Facets, out: &mut String) {
        facets.open("array", out);
        facets.length(["minItems", "maxItems"], out);
        out.push_str(",\"items\":");
        T::write(&Facets { description: T::DESCRIPTION, ..Facets::NONE }, out);
        out.push('}');
    }
}

/// Writes a closed object. For derives.
#[doc(hidden)]
pub struct ObjectSchema<'o> {
    out: &'o mut String,
    required: String,
    first: bool,
}

impl<'o> ObjectSchema<'o> {
    pub fn open(facets: &Facets, out: &'o mut String) -> Self {
        facets.open("object", out);
        out.push_str(",\"properties\":{");
        Self { out, required: String::new(), first: true }
    }

    pub fn property<T: Schema>(&mut self, name: &str, facets: &Facets) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        write_string(name, self.out);
        self.out.push(':');
        T::write(facets, self.out);
        if !T::OPTIONAL {
            if !self.required.is_empty() {
                self.required.push(',');
            }
            write_string(name, &mut self.required);
        }
    }

    pub fn close(self) {
        self.out.push_str("},\"required\":[");
        self.out.push_str(&self.required);
        self.out.push_str("],\"additionalProperties\":false}");
    }
}

/// Writes a string with a list of values. For derives.
#[doc(hidden)]
pub fn write_choice(facets: &Facets, names: &[&str], out: &mut String) {
    facets.open("string", out);
    out.push_str(",\"enum\":[");
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(name, out);
    }
    out.push_str("]}");
}

/// Ends the compilation with a problem, if there is one. For derives.
#[doc(hidden)]
#[track_caller]
pub const fn refuse(problem: Option<&'static str>) {
    if let Some(problem) = problem {
        panic!("{}", problem);
    }
}

/// The first problem that there is. For derives.
#[doc(hidden)]
#[must_use]
pub const fn first(problems: &[Option<&'static str>]) -> Option<&'static str> {
    let mut index = 0;
    while index < problems.len() {
        if problems[index].is_some() {
            return problems[index];
        }
        index += 1;
    }
    None
}

/// One more than the deepest of a struct's fields. For derives.
#[doc(hidden)]
pub const fn depth(fields: &[u32]) -> u32 {
    let mut deepest = 0;
    let mut index = 0;
    while index < fields.len() {
        if fields[index] > deepest {
            deepest = fields[index];
        }
        index += 1;
    }
    deepest + 1
}
