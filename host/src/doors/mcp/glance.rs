//! A message's id and method, from a text that is too large to keep or that isn't acceptable as it stands.
//!
//! A client of this protocol waits for an answer with its own id, for minutes, and knows no other way to be told that
//! its message was no good. Some write the id last.

use serde_json::value::RawValue;

use super::message::Id;

/// The longest name and value that are kept, in bytes as they're written. No method is that long, and no id is taken
/// that is.
const KEPT_BYTES_MAX: usize = 256;

/// What is seen of a text while it goes by. It takes a few hundred bytes, however long the text is.
#[derive(Debug, Default)]
pub(super) struct Glance {
    /// How many arrays and objects are open.
    depth: u64,
    string: Option<Quoted>,
    /// Within the outermost object: the name that was read, and whether its colon was.
    name: Option<String>,
    after_colon: bool,
    /// The name or value that is being read there.
    kept: Vec<u8>,
    is_cut: bool,
    id: Seen,
    method: Seen,
}

#[derive(Debug, PartialEq, Eq)]
enum Quoted {
    Plain,
    /// After a backslash.
    Escaped,
}

/// A member that is looked for. One that is there twice is two ids, so none.
#[derive(Debug, Default)]
enum Seen {
    #[default]
    Nothing,
    Once(Vec<u8>),
    Twice,
}

impl Glance {
    /// Looks at a text that is there as a whole.
    pub(super) fn at(text: &[u8]) -> Self {
        let mut glance = Self::default();
        glance.see(text);
        glance
    }

    /// Looks at the next part.
    pub(super) fn see(&mut self, part: &[u8]) {
        for byte in part {
            self.byte(*byte);
        }
    }

    /// The id, if there's one that a client could mean.
    pub(super) fn id(&self) -> Option<Id> {
        let Seen::Once(text) = &self.id else { return None };
        let text = String::from_utf8(text.clone()).ok()?;
        Id::of(RawValue::from_string(text).ok()?.as_ref())
    }

    /// The method.
    pub(super) fn method(&self) -> Option<String> {
        let Seen::Once(text) = &self.method else { return None };
        serde_json::from_slice(text).ok()
    }

    fn byte(&mut self, byte: u8) {
        if let Some(quoted) = &mut self.string {
            let ends = *quoted == Quoted::Plain && byte == b'"';
            *quoted = match (&quoted, byte) {
                (Quoted::Plain, b'\\') => Quoted::Escaped,
                _ => Quoted::Plain,
            };
            self.keep(byte);
            if ends {
                self.string = None;
            }
            return;
        }
        match byte {
            b'"' => {
                self.string = Some(Quoted::Plain);
                self.keep(byte);
            }
            b'{' | b'[' => {
                self.keep(byte);
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.member_ends();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 && !self.after_colon => {
                self.name = serde_json::from_slice(&self.take()).ok();
                self.after_colon = true;
            }
            b',' if self.depth == 1 => self.member_ends(),
            // Between two parts of a value white space stays: `1 2` is not 12.
            b' ' | b'\t' | b'\r' | b'\n' if self.kept.is_empty() => {}
            _ => self.keep(byte),
        }
    }

    /// Keeps a byte of what stands in the outermost object itself, up to the limit. The bracket that opens a value
    /// there is kept too, so that no array or object is taken for a plain value.
    fn keep(&mut self, byte: u8) {
        if self.depth != 1 {
            return;
        }
        if self.kept.len() < KEPT_BYTES_MAX { self.kept.push(byte) } else { self.is_cut = true }
    }

    fn take(&mut self) -> Vec<u8> {
        let kept = std::mem::take(&mut self.kept);
        if std::mem::take(&mut self.is_cut) { Vec::new() } else { kept }
    }

    fn member_ends(&mut self) {
        let value = self.take();
        self.after_colon = false;
        let seen = match self.name.take().as_deref() {
            Some("id") => &mut self.id,
            Some("method") => &mut self.method,
            _ => return,
        };
        *seen = match seen {
            Seen::Nothing => Seen::Once(value),
            Seen::Once(_) | Seen::Twice => Seen::Twice,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str) -> (Option<String>, Option<String>) {
        let whole = Glance::at(text.as_bytes());
        // In parts of one byte: the same is seen.
        let mut parts = Glance::default();
        text.as_bytes().chunks(1).for_each(|part| parts.see(part));
        let said = |glance: &Glance| (glance.id().map(|id| id.to_string()), glance.method());
        assert_eq!(said(&whole), said(&parts));
        said(&whole)
    }

    fn both(id: &str, method: &str) -> (Option<String>, Option<String>) {
        (Some(id.to_owned()), Some(method.to_owned()))
    }

    #[test]
    fn id_and_method_are_found_wherever_they_stand() {
        let long = "x".repeat(100_000);
        for (text, id) in [
            (
                r#"{"method":"tools/call","params":{"id":7,"method":"x"},"jsonrpc":"2.0","id":3}"#.to_owned(),
                "3",
            ),
            (r#"{"id":"a\"}","method":"tools/call","params":{"a":[{"id":1}]}}"#.to_owned(), r#""a\"}""#),
            (format!(r#"{{"method":"tools/call","params":{{"a":"{long}"}},"id":-4}}"#), "-4"),
            (format!(r#"{{"{long}":1,"method":"tools/call","x":"{long}","id":4}}"#), "4"),
            (r#" { "\u0069d" : 5 , "method" : "tools\/call" , "params" : [ "\\" ] } "#.to_owned(), "5"),
            // What is wrong with it stands behind them, or elsewhere.
            (r#"{"id":6,"method":"tools/call","params":{"a":1,"a":2},"x":tru}"#.to_owned(), "6"),
            (r#"{"id":6,"method":"tools/call","params":{"a":"#.to_owned(), "6"),
            (r#"{"id":6,"method":"tools/call"}}}}}}"#.to_owned(), "6"),
        ] {
            assert_eq!(look(&text), both(id, "tools/call"), "{text}");
        }
    }

    #[test]
    fn what_is_no_id_is_none() {
        let long = "1".repeat(300);
        for text in [
            "",
            "x",
            "{",
            r#"{"id""#,
            r#"{"id":1"#,
            r#"{"id":null}"#,
            r#"{"id":true}"#,
            r#"{"id":[1]}"#,
            r#"{"id":{"a":1}}"#,
            r#"{"id":{}}"#,
            r#"{"id":1 2}"#,
            r#"{"id":}"#,
            r#"{"id":1,"id":1}"#,
            r#"{"id":1,"id":2,"id":3}"#,
            r#"{"ID":1}"#,
            r#"[{"id":1}]"#,
            r#"{"a":{"id":1}}"#,
            r#"{"a":{"a":1},"b":"id:1,"}"#,
            &format!(r#"{{"id":{long}}}"#),
        ] {
            assert_eq!(look(text).0, None, "{text}");
        }
    }
}
