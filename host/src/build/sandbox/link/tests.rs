use wasmparser::Operator;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

use super::*;

/// Stands between the libraries and the host, as in each component that needs memory for its imports.
const SHIM: &str = r#"
  (core module $shim
    (type $log (func (param i32 i32)))
    (table (export "$imports") 1 1 funcref)
    (func (export "0") (param i32 i32)
      (call_indirect (type $log) (local.get 0) (local.get 1) (i32.const 0))))
  (core module $fixups
    (import "" "0" (func $log (param i32 i32)))
    (import "" "$imports" (table 1 1 funcref))
    (elem (i32.const 0) func $log))
  (core instance $shims (instantiate $shim))"#;

/// Has the memory, the table, and the globals that the linker of the libraries fills in.
const MAIN: &str = r#"
  (core module $main
    (type $one (func (param i32) (result i32)))
    (memory (export "memory") 1)
    (table (export "table") 5 funcref)
    (global (export "a:table_base") i32 (i32.const 1))
    (global (export "b:table_base") i32 (i32.const 3))
    (global (export "stack") (mut i32) (i32.const 1000))
    (global (export "got:triple") (mut i32) (i32.const 2))
    (data (i32.const 8) "hello")
    (func (export "double") (param i32) (result i32)
      (call_indirect (type $one) (local.get 0) (i32.const 1))))"#;

const A: &str = r#"
  (core module $a
    (type $other (func (param i64)))
    (type $one (func (param i32) (result i32)))
    (import "env" "memory" (memory 1))
    (import "env" "table" (table 0 funcref))
    (import "env" "table_base" (global $base i32))
    (import "env" "stack" (global $stack (mut i32)))
    (import "got" "triple" (global $triple (mut i32)))
    (import "env" "double" (func $double_by_table (type $one)))
    (global $own (mut i32) (i32.const 5))
    (global $above i32 (global.get $base))
    (elem (global.get $base) func $double $triple)
    (func $unused (param i64))
    (func $double (type $one) (i32.mul (local.get 0) (i32.const 2)))
    (func $triple (type $one) (i32.mul (local.get 0) (i32.const 3)))
    ;; Counts its calls in memory, and what it does depends on all that is shared.
    (func (export "work") (type $one) (local $sum i32)
      (global.set $stack (i32.sub (global.get $stack) (i32.const 16)))
      (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
      (local.set $sum (call $double_by_table (local.get 0)))
      (local.set $sum (i32.add (local.get $sum) (call_indirect (type $one) (local.get 0) (global.get $triple))))
      (local.set $sum (i32.add (local.get $sum) (i32.add (global.get $own) (global.get $above))))
      (i32.add (local.get $sum) (i32.add (global.get $stack) (i32.load (i32.const 0))))))"#;

const B: &str = r#"
  (core module $b
    (type $one (func (param i32) (result i32)))
    (import "a" "work" (func $work (type $one)))
    (import "host" "ask" (func $ask (type $one)))
    (import "host" "log" (func $log (param i32 i32)))
    (import "env" "memory" (memory 1))
    (import "env" "table" (table 0 funcref))
    (import "env" "table_base" (global $base i32))
    (elem (global.get $base) func $asked)
    (data $more "bye")
    (func $asked (type $one) (call $ask (local.get 0)))
    (func (export "run") (type $one)
      (call $log (i32.const 8) (i32.const 5))
      (memory.init $more (i32.const 20) (i32.const 0) (i32.const 3))
      (call $log (i32.const 20) (i32.const 3))
      (i32.add (call $work (local.get 0)) (call_indirect (type $one) (local.get 0) (i32.const 3)))))"#;

const WIRED: &str = r#"
  (core func $ask (canon lower (func $ask)))
  (core instance $m (instantiate $main))
  (alias core export $m "a:table_base" (core global $base_a))
  (alias core export $m "b:table_base" (core global $base_b))
  (alias core export $m "stack" (core global $stack))
  (alias core export $m "got:triple" (core global $triple))
  (alias core export $m "double" (core func $double))
  (alias core export $m "memory" (core memory $memory))
  (alias core export $m "table" (core table $table))
  (core instance $env_a
    (export "memory" (memory $memory)) (export "table" (table $table)) (export "table_base" (global $base_a))
    (export "stack" (global $stack)) (export "double" (func $double)))
  (core instance $got (export "triple" (global $triple)))
  (core instance $as (instantiate $a (with "env" (instance $env_a)) (with "got" (instance $got))))
  (core instance $env_b
    (export "memory" (memory $memory)) (export "table" (table $table)) (export "table_base" (global $base_b)))
  (alias core export $shims "0" (core func $later))
  (core instance $host (export "ask" (func $ask)) (export "log" (func $later)))
  (core instance $bs (instantiate $b
    (with "env" (instance $env_b)) (with "a" (instance $as)) (with "host" (instance $host))))
  (core func $log (canon lower (func $log) (memory $memory)))
  (alias core export $shims "$imports" (core table $imports))
  (core instance $fixed (export "0" (func $log)) (export "$imports" (table $imports)))
  (core instance (instantiate $fixups (with "" (instance $fixed))))
  (alias core export $bs "run" (core func $run))
  (func (export "run") (param "x" u32) (result u32) (canon lift (core func $run)))"#;

const IMPORTS: &str = r#"
  (import "ask" (func $ask (param "x" u32) (result u32)))
  (import "log" (func $log (param "text" string)))"#;

fn component(parts: &[&str]) -> Vec<u8> {
    wat::parse_str(format!("(component {IMPORTS} {SHIM} {})", parts.concat())).unwrap()
}

fn libraries() -> Vec<u8> {
    component(&[MAIN, A, B, WIRED])
}

/// What a component answers to these, one after the other, and what it has logged.
fn outcome(component: &[u8], arguments: &[u32]) -> (Vec<u32>, Vec<String>) {
    let engine = Engine::new(&Config::new()).unwrap();
    let component = Component::new(&engine, component).unwrap();
    let mut linker = Linker::<Vec<String>>::new(&engine);
    linker.root().func_wrap("ask", |_, (x,): (u32,)| Ok((x + 100_000,))).unwrap();
    linker
        .root()
        .func_wrap("log", |mut store, (text,): (String,)| {
            store.data_mut().push(text);
            Ok(())
        })
        .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let run = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "run").unwrap();
    let answers = arguments.iter().map(|x| run.call(&mut store, (*x,)).unwrap().0).collect();
    (answers, store.into_data())
}

#[test]
fn linked_libraries_do_what_they_did() {
    let before = libraries();
    let after = link(&before).unwrap();
    let arguments = [0, 1, 7, 1000];
    let (answers, logged) = outcome(&after, &arguments);
    assert_eq!((&answers, &logged), (&outcome(&before, &arguments).0, &outcome(&before, &arguments).1));
    // 2x + 3x + 5 + 1 + (1000 - 16) + 1 + x + 100,000, the first time.
    assert_eq!(answers[0], 100_991);
    assert_eq!(logged[..2], ["hello", "bye"]);
}

#[test]
fn one_module_takes_their_place_and_fills_its_table_with_what_is_known() {
    let after = link(&libraries()).unwrap();
    let graph = Graph::of(&after).unwrap();
    let (linked, others): (Vec<_>, Vec<_>) =
        graph.modules.iter().partition(|module| !module.memories.is_empty());
    let [linked] = linked.as_slice() else { panic!("{} modules with a memory", linked.len()) };
    assert_eq!(others.len(), 2, "the shim and the fixups");
    assert_eq!((linked.imports.len(), linked.tables.len(), linked.elements.len()), (2, 1, 2));
    for element in &linked.elements {
        let wasmparser::ElementKind::Active { offset_expr, .. } = &element.kind else { panic!("not active") };
        assert!(matches!(offset_expr.get_operators_reader().read().unwrap(), Operator::I32Const { .. }));
    }
    // Of six globals, one is ever written to.
    assert_eq!(
        (linked.globals.len(), linked.globals.iter().filter(|global| global.ty.mutable).count()),
        (6, 1)
    );
    // Types that several have are there once, and nothing is exported that nobody takes.
    assert_eq!(linked.types.len(), 3);
    assert_eq!(linked.exports.len(), 2);
}

#[test]
fn what_cannot_be_linked_is_refused_and_says_why() {
    let wired = |from: &str, to: &str| {
        let changed = WIRED.replace(from, to);
        assert_ne!(changed, WIRED);
        component(&[MAIN, A, B, &changed])
    };
    let starts = A.replace("(func $unused (param i64))", "(func $unused (param i64)) (func $s) (start $s)");
    let cases = [
        ("does something when it's loaded", component(&[MAIN, &starts, B, WIRED])),
        ("without a memory", component(&[])),
        (
            "2 memories",
            component(&["(core module $m (memory 1)) (core module $n (memory 1))
           (core instance (instantiate $m)) (core instance (instantiate $n))"]),
        ),
        (
            "loaded twice",
            component(&["(core module $m (memory 1)) (core instance (instantiate $m))
           (core instance (instantiate $m))"]),
        ),
        // What logs needs the memory of what it would be given to.
        ("need something that needs them", {
            let early = "(core func $early (canon lower (func $log) (memory $memory)))
                (core instance $host (export \"ask\" (func $ask)) (export \"log\" (func $early)))";
            wired("(core instance $host (export \"ask\" (func $ask)) (export \"log\" (func $later)))", early)
        }),
        // Where a table begins has to be known.
        ("which changes", {
            let main = MAIN.replace("\"a:table_base\") i32", "\"a:table_base\") (mut i32)");
            let a = A.replace("(global $base i32)", "(global $base (mut i32))");
            component(&[&main, &a, B, WIRED])
        }),
        ("\"triple\" isn't a function", {
            let other =
                "(core module $other (table 1 funcref) (global (export \"g\") (mut i32) (i32.const 2)))
                (core instance $o (instantiate $other)) (alias core export $o \"g\" (core global $triple))";
            wired("(alias core export $m \"got:triple\" (core global $triple))", other)
        }),
    ];
    for (words, component) in cases {
        let error = link(&component).unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
    link(b"no component").unwrap_err();
    let whole = libraries();
    link(&whole[..whole.len() - 10]).unwrap_err();
}
