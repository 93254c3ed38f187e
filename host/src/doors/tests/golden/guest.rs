//! A tool that sends whatever request its arguments hold, without a look at it; and an interpreter that sends whatever
//! request its code is.
//!
//! The arguments are one text: the request as the canonical ABI lays it out in memory, in hexadecimal. So the guest has
//! nothing to parse, and any request can be said, however crooked.

use std::fmt::Write as _;

use crate::catalog::SANDBOX_TOOL;
use crate::catalog::sandbox_tests::{INPUT as CODE_INPUT, OUTPUT as CODE_OUTPUT};
use crate::egress::{Draft, DraftBody};
use crate::runtime::test_guest::TestGuest;

/// The tool's name.
pub(super) const TOOL: &str = "forward";

/// Where the request lies in the guest's memory: above all that `cabi_realloc` hands out.
const BASE: u32 = 1 << 20;
const PAGES: u32 = 32;

/// The arguments before the hexadecimal text, and behind it.
const BEFORE: &str = r#"{"request":""#;
const CODE_BEFORE: &str = r#"{"code":""#;
const BEHIND: &str = r#""}"#;

const INPUT: &str = r#"{"type":"object","properties":{"request":{"type":"string"}},"required":["request"],"additionalProperties":false}"#;

/// Decodes the text to `BASE`, sends, and returns a result, or fails with `send-failed`. `$around` bytes of the arguments aren't
/// the text, which begins at byte `$high`; `$low` is the next one.
macro_rules! forwarding {
    ($around:literal, $high:literal, $low:literal, $result:literal) => {
        concat!(
            "
    (local $i i32) (local $n i32) (local $from i32)
    (local.set $n (i32.shr_u (i32.sub (local.get $args_len) (i32.const ", $around, ")) (i32.const 1)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (local.set $from (i32.add (local.get $args) (i32.shl (local.get $i) (i32.const 1))))
      (i32.store8 (i32.add (i32.const 1048576) (local.get $i))
        (i32.or (i32.shl (call $nibble (i32.load8_u offset=", $high, " (local.get $from))) (i32.const 4))
                (call $nibble (i32.load8_u offset=", $low, " (local.get $from)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (call $send
      (call $word (i32.const 0)) (call $word (i32.const 1)) (call $word (i32.const 2)) (call $word (i32.const 3))
      (call $word (i32.const 4)) (call $word (i32.const 5)) (call $word (i32.const 6)) (call $word (i32.const 7))
      (call $word (i32.const 8)) (call $word (i32.const 9)) (call $word (i32.const 10)) (call $word (i32.const 11))
      (call $word (i32.const 12)) (call $word (i32.const 13)) (call $word (i32.const 14)) (call $word (i32.const 15))
      (i32.const 2048))
    (if (result i32) (i32.load8_u (i32.const 2048))
      (then (call $err (i32.const 3) (i32.const 8) (i32.const 2)))
      (else (call $ok ", $result, ")))"
        )
    };
}

const CALL: &str = forwarding!("14", "12", "13", "(i32.const 8) (i32.const 2)");
const CODE_CALL: &str = forwarding!("11", "9", "10", "(i32.const 65536) (i32.const 27)");

const FIELDS: &str = r#"
  (func $nibble (param i32) (result i32)
    (i32.sub (local.get 0) (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get 0) (i32.const 57)))))
  (func $word (param i32) (result i32)
    (i32.load (i32.add (i32.const 1048576) (i32.shl (local.get 0) (i32.const 2)))))
  (data (i32.const 65536) "{\"exit_code\":0,\"output\":\"\"}")"#;

/// The component. It declares these connections.
pub(super) fn component(connections: Vec<&'static str>) -> Vec<u8> {
    TestGuest {
        tools: vec![(TOOL, connections)],
        call: CALL,
        fields: FIELDS,
        input: INPUT,
        pages: PAGES,
        ..TestGuest::default()
    }
    .build()
}

/// A sandbox: it declares no connection.
pub(super) fn interpreter() -> Vec<u8> {
    TestGuest {
        tools: vec![(SANDBOX_TOOL, vec![])],
        call: CODE_CALL,
        fields: FIELDS,
        input: CODE_INPUT,
        output: CODE_OUTPUT,
        pages: PAGES,
        ..TestGuest::default()
    }
    .build()
}

/// The arguments that have the tool send this request.
pub(super) fn arguments(draft: &Draft) -> String {
    format!("{BEFORE}{}{BEHIND}", text(draft))
}

/// Those that have the sandbox's tool send it.
pub(super) fn code_arguments(draft: &Draft) -> String {
    format!("{CODE_BEFORE}{}{BEHIND}", text(draft))
}

/// The code that sends this request.
pub(super) fn text(draft: &Draft) -> String {
    let mut image = Image(vec![0; 64]);
    let mut words = [0_u32; 16];
    let mut set = |at: usize, (place, length): (u32, u32)| {
        words[at] = place;
        words[at + 1] = length;
    };
    set(0, image.text(draft.connection.as_bytes()));
    set(2, image.text(draft.method.as_bytes()));
    set(4, image.text(draft.path.as_bytes()));
    set(6, image.pairs(&draft.query));
    set(8, image.pairs(&draft.headers));
    match &draft.body {
        None => {}
        Some(DraftBody::Json(text)) => {
            set(10, (1, 0));
            set(12, image.text(text.as_bytes()));
        }
        Some(DraftBody::Form(fields)) => {
            set(10, (1, 1));
            set(12, image.pairs(fields));
        }
        Some(DraftBody::Bytes { content_type, data }) => {
            set(10, (1, 2));
            set(12, image.text(content_type.as_bytes()));
            set(14, image.text(data));
        }
    }
    for (at, word) in words.iter().enumerate() {
        image.0[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    let mut text = String::new();
    image.0.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text
}

/// The guest's memory from `BASE` on.
struct Image(Vec<u8>);

impl Image {
    fn text(&mut self, text: &[u8]) -> (u32, u32) {
        let at = BASE + self.0.len() as u32;
        self.0.extend_from_slice(text);
        (at, text.len() as u32)
    }

    fn pairs(&mut self, pairs: &[(String, String)]) -> (u32, u32) {
        let placed: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (self.text(name.as_bytes()), self.text(value.as_bytes())))
            .collect();
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let at = BASE + self.0.len() as u32;
        for (name, value) in placed {
            for word in [name.0, name.1, value.0, value.1] {
                self.0.extend_from_slice(&word.to_le_bytes());
            }
        }
        (at, pairs.len() as u32)
    }
}
