//! The methods: what each takes, and what it answers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer;
use super::message::{Fault, Request, params};
use crate::auth::Caller;
use crate::catalog::Tool;
use crate::connection::{Connections, Effect};
use crate::doors::router::Door;
use crate::doors::tools::{self, Asked};
use crate::dto::Narrow;
use crate::ids::{CallId, ToolName};
use crate::refusal::{Code, Refusal};

/// The versions of the protocol that are spoken, newest first. Nothing that this door says differs between them.
const VERSIONS: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26"];

/// The answer to `initialize`: the version that the client asks for, or the newest one for it to decide on.
pub(super) fn initialize(request: &Request<'_>) -> Response {
    #[derive(Deserialize)]
    struct Wanted<'m> {
        #[serde(borrow, rename = "protocolVersion")]
        version: Cow<'m, str>,
    }
    let wanted: Wanted<'_> = match params(request.params) {
        Ok(wanted) => wanted,
        Err(refusal) => return answer::refused(Some(&request.id), Fault::Params, refusal),
    };
    let newest = VERSIONS.first().copied().unwrap_or_default();
    let version = VERSIONS.iter().copied().find(|known| *known == wanted.version).unwrap_or(newest);
    let result = json!({
        "protocolVersion": version,
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "keybearer", "title": "Keybearer", "version": env!("CARGO_PKG_VERSION") },
    });
    answer::result(&request.id, &result)
}

/// The tools that the token may call, all on one page: clients don't look for a second one.
pub(super) fn list(door: &Door, caller: &Caller, request: &Request<'_>) -> Response {
    #[derive(Deserialize)]
    struct Page {
        cursor: Option<IgnoredAny>,
    }
    match params::<Page>(request.params) {
        Ok(Page { cursor: None }) => {}
        Ok(Page { cursor: Some(_) }) => {
            let refusal = Refusal::new(Code::BadRequest, "there is one page of tools; leave the cursor out");
            return answer::refused(Some(&request.id), Fault::Params, refusal);
        }
        Err(refusal) => return answer::refused(Some(&request.id), Fault::Params, refusal),
    }
    let (tools, connections) = (door.app.pipeline.tools(caller), door.app.connections.load());
    let tools = tools.iter().map(|tool| Listed::new(tool, caller, &connections)).collect();
    answer::result(&request.id, &List { tools })
}

/// Runs a tool. Whatever comes of it is a result, so that a model reads it. When the client hangs up, this future is
/// dropped, which stops the call and records it.
pub(super) async fn call(
    door: &Door,
    caller: Arc<Caller>,
    request: &Request<'_>,
    headers: &HeaderMap,
    started: Instant,
) -> Response {
    let id = CallId::fresh(door.app.clock.now());
    match run(door, caller, id.clone(), request, headers, started).await {
        Ok(narrow) => answer::called(&request.id, &narrow, &id),
        Err(refusal) => answer::not_called(&request.id, refusal, Some(id)),
    }
}

async fn run(
    door: &Door,
    caller: Arc<Caller>,
    id: CallId,
    request: &Request<'_>,
    headers: &HeaderMap,
    started: Instant,
) -> Result<Narrow, Refusal> {
    #[derive(Deserialize)]
    struct Call<'m> {
        #[serde(borrow)]
        name: Cow<'m, str>,
        #[serde(borrow)]
        arguments: Option<&'m RawValue>,
    }
    let Call { name, arguments } = params(request.params)?;
    let asked = Asked::new(door, &name, headers)?;
    let arguments = arguments.map_or("{}", RawValue::get).to_owned();
    tools::run(door, caller, id, asked, Bytes::from(arguments), started).await
}

#[derive(Serialize)]
struct List<'a> {
    tools: Vec<Listed<'a>>,
}

/// A tool as this protocol lists it. Its output schema is left out: clients would look for the result in a form that
/// no model gets to see.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a ToolName,
    description: &'a str,
    #[serde(rename = "inputSchema")]
    input_schema: &'a Value,
    annotations: Annotations,
}

#[derive(Serialize)]
struct Annotations {
    #[serde(rename = "readOnlyHint")]
    read_only: bool,
}

impl<'a> Listed<'a> {
    fn new(tool: &'a Tool, caller: &Caller, connections: &Connections) -> Self {
        // By construction, not by the tool's word: no operation that changes anything is within its reach.
        let writes = tool.connections.iter().any(|name| {
            connections.get(caller.realm(), name.as_str()).is_some_and(|connection| {
                let within = |operation| caller.allows_operation(name, operation);
                connection.operations.iter().any(|op| op.effect == Effect::Write && within(&op.name))
            })
        });
        Self {
            name: &tool.name,
            description: &tool.description,
            input_schema: tool.input.value(),
            annotations: Annotations { read_only: !writes },
        }
    }
}
