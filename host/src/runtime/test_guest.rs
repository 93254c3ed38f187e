//! Small hostile components, written as core modules in the text format.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A schema that accepts and promises nothing.
pub(crate) const EMPTY_SCHEMA: &str = r#"{"type":"object","properties":{},"additionalProperties":false}"#;

/// A component under construction. Its tools are all served by one body of `call`.
pub(crate) struct TestGuest {
    /// Names of tools, each with the connections it declares.
    pub(crate) tools: Vec<(&'static str, Vec<&'static str>)>,
    /// Text of the core function `call`: parameters `$name $name_len $args $args_len`, result: a pointer.
    pub(crate) call: &'static str,
    /// Text put in front of the body of `describe`.
    pub(crate) describe: &'static str,
    /// The input schema of every tool.
    pub(crate) input: &'static str,
    /// The output schema of every tool.
    pub(crate) output: &'static str,
    /// More imports of the core module.
    pub(crate) imports: &'static str,
    /// More fields of the core module.
    pub(crate) fields: &'static str,
    /// A WIT document whose world `guest` is built instead of the contract's `tool`.
    pub(crate) wit: Option<&'static str>,
    /// Pages of memory at the start.
    pub(crate) pages: u32,
}

impl Default for TestGuest {
    fn default() -> Self {
        Self {
            tools: vec![("probe", vec![])],
            call: OK,
            input: EMPTY_SCHEMA,
            output: EMPTY_SCHEMA,
            describe: "",
            imports: "",
            fields: "",
            wit: None,
            pages: 4,
        }
    }
}

/// The body that returns `{}`.
pub(crate) const OK: &str = "(call $ok (i32.const 8) (i32.const 2))";

/// A component whose `call` has this body.
pub(crate) fn calling(call: &'static str) -> Vec<u8> {
    TestGuest { call, ..TestGuest::default() }.build()
}

/// The same with more fields in its module.
pub(crate) fn calling_with(call: &'static str, fields: &'static str) -> Vec<u8> {
    TestGuest { call, fields, ..TestGuest::default() }.build()
}

/// Where the texts of `describe` start in memory. Below: scratch space. Byte 8 on: `{}`, 16 on: `stripe`,
/// 32 on: `GET`, 40 on: `/v1/x`, 48 on: `line\nbreak`.
const TEXTS: usize = 4096;
/// Where `cabi_realloc` starts to allocate.
const HEAP: usize = 128 << 10;

impl TestGuest {
    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.module()).expect("the module parses");
        let mut resolve = Resolve::default();
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/tool.wit");
        let tool = resolve.push_path(wit).expect("the contract parses").0;
        let (package, world) = match self.wit {
            None => (tool, "tool"),
            Some(text) => (resolve.push_str("guest.wit", text).expect("the WIT parses"), "guest"),
        };
        let world = resolve.select_world(&[package], Some(world)).expect("the world is there");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata fits");
        ComponentEncoder::default()
            .module(&module)
            .expect("the module fits the world")
            .validate(true)
            .encode()
            .expect("the component encodes")
    }

    fn module(&self) -> String {
        let (data, list, count) = self.descriptions();
        let Self { call, describe, imports, fields, pages, .. } = self;
        format!(
            r#"(module
  (import "keybearer:tool/credentialed-http@0.1.0" "send" (func $send (param
    i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "keybearer:tool/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  {imports}
  (memory (export "memory") {pages})
  (global $heap (mut i32) (i32.const {HEAP}))
  (data (i32.const 8) "{{}}")
  (data (i32.const 16) "stripe")
  (data (i32.const 32) "GET")
  (data (i32.const 40) "/v1/x")
  (data (i32.const 48) "line\nbreak")
  (data (i32.const {TEXTS}) "{data}")
  (func $alloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  ;; ok(text, length): the result `ok` of `call`
  (func $ok (param i32 i32) (result i32)
    (i32.store (i32.const 1024) (i32.const 0))
    (i32.store (i32.const 1028) (local.get 0))
    (i32.store (i32.const 1032) (local.get 1))
    (i32.const 1024))
  ;; err(kind, text, length)
  (func $err (param i32 i32 i32) (result i32)
    (i32.store (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (local.get 0))
    (i32.store (i32.const 1032) (local.get 1))
    (i32.store (i32.const 1036) (local.get 2))
    (i32.const 1024))
  ;; digit(n): `ok` with the last decimal digit of n
  (func $digit (param i32) (result i32)
    (i32.store8 (i32.const 1100) (i32.add (i32.const 48) (i32.rem_u (local.get 0) (i32.const 10))))
    (call $ok (i32.const 1100) (i32.const 1)))
  ;; get(): GET stripe /v1/x; the result's discriminant, 0 for a reply; the rest lies at 2048
  (func $get (result i32)
    (call $send (i32.const 16) (i32.const 6) (i32.const 32) (i32.const 3) (i32.const 40) (i32.const 5)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))
    (i32.load8_u (i32.const 2048)))
  {fields}
  (func (export "describe") (result i32)
    {describe}
    (i32.store (i32.const 1200) (i32.const {list}))
    (i32.store (i32.const 1204) (i32.const {count}))
    (i32.const 1200))
  (func (export "call") (param $name i32) (param $name_len i32) (param $args i32) (param $args_len i32) (result i32)
    {call}))"#
        )
    }

    /// The bytes of all descriptions as a text-format string, the address of their list, and their number.
    fn descriptions(&self) -> (String, usize, usize) {
        let mut bytes = Vec::new();
        let mut text = |text: &str| {
            let at = TEXTS + bytes.len();
            bytes.extend_from_slice(text.as_bytes());
            (at, text.len())
        };
        let mut records = Vec::new();
        for (name, connections) in &self.tools {
            let names: Vec<_> = connections.iter().map(|name| text(name)).collect();
            let texts = [name, "A probe.", self.input, self.output].map(&mut text);
            records.push((texts, names));
        }
        let mut words = |words: &[(usize, usize)]| {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            let at = TEXTS + bytes.len();
            for (a, b) in words {
                bytes.extend_from_slice(&(*a as u32).to_le_bytes());
                bytes.extend_from_slice(&(*b as u32).to_le_bytes());
            }
            at
        };
        let mut list = Vec::new();
        for (texts, names) in records {
            let at = words(&names);
            list.extend(texts);
            list.push((at, names.len()));
        }
        let at = words(&list);
        assert!(TEXTS + bytes.len() < HEAP, "the descriptions reach into the heap");
        (bytes.iter().map(|byte| format!("\\{byte:02x}")).collect(), at, self.tools.len())
    }
}
