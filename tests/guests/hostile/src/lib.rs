//! A guest that tries what a host must stop. Each tool is one attack; its parameters come as arguments, so that a
//! test can go through a list of tricks with one component.
#![cfg(target_arch = "wasm32")]

mod memory;
mod sends;

use std::hint::black_box;
use std::sync::atomic::{AtomicI64, Ordering};

use keybearer_guest::__private::bindings::{ErrorKind, Guest, ToolDescription, ToolError};
use keybearer_guest::{Output, Reader, Reply, log};

/// The arguments of every tool. Each uses what it needs.
#[derive(Reply)]
struct Arguments {
    text: Option<String>,
    number: Option<u64>,
    connection: Option<String>,
    method: Option<String>,
    path: Option<String>,
    query: Option<Vec<String>>,
    headers: Option<Vec<String>>,
    form: Option<Vec<String>>,
    json: Option<String>,
    content_type: Option<String>,
}

/// The result of every tool.
#[derive(Output, Default)]
struct Outcome {
    /// A text.
    text: Option<String>,
    /// A number.
    number: Option<u64>,
    /// The status of a reply.
    status: Option<u64>,
    /// The headers of a reply, `name: value`.
    headers: Option<Vec<String>>,
    /// Why a send failed.
    reason: Option<String>,
    /// Whether a send that failed was sent.
    sent: Option<String>,
}

impl Outcome {
    fn number(number: u64) -> Self {
        Self { number: Some(number), ..Self::default() }
    }
}

/// An attack: it returns the result's JSON text, or doesn't.
type Attack = fn(Arguments) -> Result<String, ToolError>;

const TOOLS: &[(&str, &str, Attack)] = &[
    ("spin", "Loops for ever.", |_| spin(|| ())),
    ("spin_logging", "Loops for ever, with a call of the host in each round.", |_| {
        spin(|| log::debug("again"))
    }),
    ("spin_sending", "Sends for ever.", |arguments| spin(|| _ = sends::send(&arguments))),
    ("recurse", "Calls itself until the stack ends.", |_| Ok(recurse(0).to_string())),
    ("memory_bomb", "Takes memory until there is none.", |_| ok(Outcome::number(memory::take_all()))),
    ("count", "Counts its calls in a static variable.", |_| ok(Outcome::number(count()))),
    ("panic", "Panics with `text`.", |arguments| panic!("{}", text(&arguments))),
    ("big_result", "Returns `number` bytes.", |arguments| {
        Ok(format!("\"{}\"", "x".repeat(size(&arguments))))
    }),
    ("big_error", "Fails with `number` bytes.", |arguments| Err(error("x".repeat(size(&arguments))))),
    ("error", "Fails with `text`.", |arguments| Err(error(text(&arguments)))),
    ("raw_result", "Returns `text` as it is: not JSON, not the schema, or more than it.", |a| Ok(text(&a))),
    ("invalid_utf8", "Returns a string that isn't UTF-8.", |_| Ok(memory::invalid_utf8())),
    ("log", "Logs `text`.", |arguments| {
        log::info(text(&arguments));
        ok(Outcome::default())
    }),
    ("log_flood", "Logs `text` `number` times.", |arguments| {
        for _ in 0..size(&arguments) {
            log::error(text(&arguments));
        }
        ok(Outcome::default())
    }),
    ("send", "Sends one request, built from the arguments without a check.", |a| ok(sends::send(&a))),
    ("send_many", "Sends the same request `number` times.", |a| ok(sends::send_many(&a, size(&a)))),
];

struct Hostile;

impl Guest for Hostile {
    fn describe() -> Vec<ToolDescription> {
        let describe = |&(name, description, _): &(&str, &str, Attack)| ToolDescription {
            name: name.to_owned(),
            description: description.to_owned(),
            input_schema: INPUT_SCHEMA.to_owned(),
            output_schema: OUTPUT_SCHEMA.to_owned(),
            connections: vec!["stripe".to_owned()],
        };
        TOOLS.iter().map(describe).collect()
    }

    fn call(name: String, arguments: String) -> Result<String, ToolError> {
        let arguments = Reader::read(&arguments).map_err(|wrong| error(wrong.to_string()))?;
        match TOOLS.iter().find(|(tool, ..)| *tool == name) {
            Some((.., attack)) => attack(arguments),
            None => Err(error("no such attack".to_owned())),
        }
    }
}

keybearer_guest::__private::bindings::export_component!(
    Hostile with_types_in keybearer_guest::__private::bindings
);

const INPUT_SCHEMA: &str = r#"{"type":"object","properties":{
    "text":{"type":"string"},"number":{"type":"integer"},"connection":{"type":"string"},
    "method":{"type":"string"},"path":{"type":"string"},
    "query":{"type":"array","items":{"type":"string"}},
    "headers":{"type":"array","items":{"type":"string"}},
    "form":{"type":"array","items":{"type":"string"}},
    "json":{"type":"string"},"content_type":{"type":"string"}
    },"required":[],"additionalProperties":false}"#;

const OUTPUT_SCHEMA: &str = r#"{"type":"object","properties":{
    "text":{"type":"string"},"number":{"type":"integer"},"status":{"type":"integer"},
    "headers":{"type":"array","items":{"type":"string"}},
    "reason":{"type":"string"},"sent":{"type":"string"}
    },"required":[],"additionalProperties":false}"#;

fn ok(outcome: Outcome) -> Result<String, ToolError> {
    let mut json = String::new();
    keybearer_guest::ToJson::to_json(&outcome, &mut json).map_err(|wrong| error(wrong.to_string()))?;
    Ok(json)
}

fn error(message: String) -> ToolError {
    ToolError { kind: ErrorKind::Failed, message }
}

fn text(arguments: &Arguments) -> String {
    arguments.text.clone().unwrap_or_default()
}

fn size(arguments: &Arguments) -> usize {
    arguments.number.unwrap_or_default() as usize
}

fn spin(each: impl Fn()) -> ! {
    loop {
        each();
        black_box(());
    }
}

#[expect(unconditional_recursion, reason = "that's the attack")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    recurse(depth + 1) + black_box(frame)[7]
}

fn count() -> u64 {
    static CALLS: AtomicI64 = AtomicI64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) as u64 + 1
}
