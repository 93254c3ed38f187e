//! An interpreter of a language whose words are known by their first letter.

use crate::catalog::sandbox_tests::{INPUT, OUTPUT};
use crate::runtime::test_guest::TestGuest;

/// `print`, `fail`, `exit 124`, `big`, `junk`; `loop`, `trap`, `dive`, `grow`; `send` (one request), `wait` (two), `send, trap`
/// (as `s` and `,`). What follows the first letter is a comment, but for the comma at its place.
///
/// The arguments are canonical: `{"code":"…`, so the code begins at byte 9.
const CALL: &str = r#"
    (local $word i32)
    (local.set $word (i32.load8_u offset=9 (local.get $args)))
    (if (i32.eq (local.get $word) (i32.const 112)) (then (return (call $ok (i32.const 65536) (i32.const 44)))))
    (if (i32.eq (local.get $word) (i32.const 102)) (then (return (call $ok (i32.const 65600) (i32.const 35)))))
    (if (i32.eq (local.get $word) (i32.const 101)) (then (return (call $ok (i32.const 65664) (i32.const 35)))))
    (if (i32.eq (local.get $word) (i32.const 106)) (then (return (call $ok (i32.const 65856) (i32.const 20)))))
    (if (i32.eq (local.get $word) (i32.const 98)) (then (return (call $big))))
    (if (i32.eq (local.get $word) (i32.const 108)) (then (loop $l (br $l))))
    (if (i32.eq (local.get $word) (i32.const 116)) (then (unreachable)))
    (if (i32.eq (local.get $word) (i32.const 100)) (then (drop (call $dive (i32.const 0)))))
    (if (i32.eq (local.get $word) (i32.const 103)) (then
      (loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 256)) (i32.const 0))))
      (unreachable)))
    (if (i32.eq (local.get $word) (i32.const 119)) (then
      (if (call $get) (then (return (call $ok (i32.const 65792) (i32.const 36)))))))
    (if (call $get) (then (return (call $ok (i32.const 65792) (i32.const 36)))))
    (if (i32.eq (i32.load8_u offset=13 (local.get $args)) (i32.const 44)) (then (unreachable)))
    (call $ok (i32.const 65728) (i32.const 33))"#;

const FIELDS: &str = r#"
  (data (i32.const 65536) "{\"exit_code\":0,\"output\":\"hi\\n\",\"result\":\"7\"}")
  (data (i32.const 65600) "{\"exit_code\":3,\"output\":\"failed\\n\"}")
  (data (i32.const 65664) "{\"exit_code\":124,\"output\":\"mine\\n\"}")
  (data (i32.const 65728) "{\"exit_code\":0,\"output\":\"sent\\n\"}")
  (data (i32.const 65792) "{\"exit_code\":1,\"output\":\"refused\\n\"}")
  (data (i32.const 65856) "{\"exit_code\":\"high\"}")
  (data (i32.const 66000) "{\"exit_code\":0,\"output\":\"")
  (func $dive (param i32) (result i32)
    (i32.add (call $dive (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  ;; 300 times é, which has two bytes
  (func $big (result i32) (local $n i32)
    (loop $next
      (i32.store16 (i32.add (i32.const 66025) (i32.shl (local.get $n) (i32.const 1))) (i32.const 0xA9C3))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 300))))
    (i32.store16 (i32.const 66625) (i32.const 0x7D22))
    (call $ok (i32.const 66000) (i32.const 627)))"#;

/// The component. It declares no connection.
pub(super) fn component() -> Vec<u8> {
    built(TestGuest::default().pages)
}

/// One that does the same, and isn't the same.
pub(super) fn another() -> Vec<u8> {
    built(TestGuest::default().pages + 1)
}

fn built(pages: u32) -> Vec<u8> {
    TestGuest {
        tools: vec![("run_python", vec![])],
        call: CALL,
        fields: FIELDS,
        input: INPUT,
        output: OUTPUT,
        pages,
        ..TestGuest::default()
    }
    .build()
}
