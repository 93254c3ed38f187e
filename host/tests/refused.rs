//! Components that a host doesn't take: what they import, or what they say of themselves, is wrong.

mod built;

use std::sync::Arc;

use keybearer::catalog::{CodeCache, Loader};
use keybearer::runtime::{Allocation, Runtime, RuntimeConfig};

const SELECTOR: &[u8] = b"LIE-SELECTOR: ";

fn loader() -> Loader {
    let config = RuntimeConfig { instances_max: 4, allocation: Allocation::Auto, ..RuntimeConfig::default() };
    Loader::new(Arc::new(Runtime::new(&config).unwrap()), CodeCache::off())
}

/// Why a component is refused.
fn refusal(loader: &Loader, bytes: &[u8]) -> String {
    match loader.inspect(bytes) {
        Ok(inspection) => panic!("it is taken, with {} tools", inspection.tools.len()),
        Err(error) => error.to_string(),
    }
}

/// The liar, made to tell one of its lies.
fn telling(liar: &[u8], lie: u32) -> Vec<u8> {
    let mut bytes = liar.to_vec();
    let selector = bytes.windows(SELECTOR.len()).position(|window| window == SELECTOR).unwrap();
    let digits = selector + SELECTOR.len();
    bytes[digits..digits + 2].copy_from_slice(format!("{lie:02}").as_bytes());
    bytes
}

#[test]
fn an_import_that_no_tool_gets_is_named() {
    let message = refusal(&loader(), &built::component("tests/guests", "stranger"));
    assert!(message.contains("imports `wasi:http/outgoing-handler@0.2.0`"), "{message}");
    assert!(message.contains("which tools don't get"), "{message}");
    assert!(message.contains("known are `keybearer:tool/credentialed-http@0.1.0`"), "{message}");
}

#[test]
fn a_component_that_imports_wasi_is_taken() {
    let inspection = loader().inspect(&built::component("tests/guests", "wasi-probe")).unwrap();
    assert_eq!(inspection.tools.len(), 1);
    assert!(inspection.connections.is_empty());
    assert!(inspection.imports.iter().any(|import| import == "wasi:cli/environment@0.2.0"));
}

#[test]
fn each_lie_is_refused_in_a_sentence_that_says_what_is_wrong() {
    let (loader, liar) = (loader(), built::component("tests/guests", "liar"));
    assert_eq!(loader.inspect(&liar).unwrap().tools.len(), 1, "as built, it is honest");
    for (lie, expected) in [
        (1, "the component describes no tool"),
        (2, "tool \"look\": the component describes two tools of this name"),
        (3, "tool \"../look\": the name is not valid"),
        (4, "tool \"look\": input schema, at the top: the schema can't be read: it is not valid JSON"),
        (5, "tool \"look\": input schema, at the top: write \"type\": \"object\""),
        (6, "tool \"look\": input schema, at the top: write \"additionalProperties\": false"),
        (7, "tool \"look\": output schema, at the top: write \"additionalProperties\": false"),
        (8, "tool \"look\": the description has 10000000 characters; at most 1024 are taken"),
        (9, "the component describes 10000 tools; at most 64 are taken"),
        (10, "`describe` failed: the tool broke down"),
        (11, "`describe` failed: the deadline passed"),
        (12, "`describe` called `credentialed-http.send`"),
        (13, r#"tool "look": the description has the character \u{1b}, which can't be seen"#),
        (14, "`describe` failed: the tool broke down: invalid utf-8"),
        (15, "tool \"look\": connection \"../stripe\" is not valid"),
        (16, "tool \"look\": the description is empty"),
        (17, "it is nested deeper than 32 levels"),
    ] {
        let message = refusal(&loader, &telling(&liar, lie));
        assert!(message.contains(expected), "lie {lie}: {message:?} has no {expected:?}");
        assert!(!message.contains(char::is_control), "lie {lie}: {message:?}");
        assert!(message.len() < 2000, "lie {lie}: {} bytes", message.len());
    }
}
