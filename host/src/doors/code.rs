//! `POST /v1/code`: runs code that an agent wrote, one block after the other, each in an instance of its own.
//!
//! Where people have to agree, they agree to all blocks at once, before the first of them is run.
//!
//! A program that fails is no failure of the host: whatever code comes to is a 200 with an exit code, as a process has
//! it. A refusal (no right, a kill switch, no room) is a problem, as at every other door.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;

use super::change::{parse, unable};
use super::places::Taken;
use super::problem::Problem;
use super::router::{Door, Route};
use super::wire::json;
use super::{body, headers};
use crate::auth::{AuthError, Caller};
use crate::catalog::SANDBOX_TOOL;
use crate::ids::CallId;
use crate::json::object;
use crate::pipeline::{CallRequest, Program};
use crate::policy::CallContext;
use crate::refusal::{Code, Refusal, RequestSent};
use crate::text::visible;

/// Blocks in one request, at most: a model writes one or two.
pub(super) const BLOCKS_MAX: usize = 64;

/// The exit code of code that ran into its deadline, as `timeout(1)` has it.
const TIMED_OUT: i64 = 124;
/// That of an interpreter that broke down, as a shell has it for SIGABRT.
const BROKE_DOWN: i64 = 134;
/// That of an interpreter that went over a limit, as a shell has it for SIGKILL.
const OVER_LIMIT: i64 = 137;

/// What stands where an output was cut.
const CUT: &str = "\n[some of the output is left out here: it is longer than this host answers with]\n";

/// The body of `POST /v1/code`. An unknown or repeated member is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeBody {
    #[serde(deserialize_with = "object::list")]
    blocks: Vec<Block>,
    timeout_ms: Option<u64>,
}

/// A piece of code. It has no `Debug`: code is never logged.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    language: String,
    code: String,
}

/// What came of the blocks.
#[derive(Debug, Default, Serialize)]
pub(super) struct CodeAnswer {
    pub(super) exit_code: i64,
    pub(super) output: String,
    /// The value of the last block's last expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<String>,
    /// The call that each block was, on the audit trail.
    pub(super) calls: Vec<CallId>,
}

/// What one block came to: a sandbox's tool returns this.
#[derive(Deserialize)]
struct Ran {
    exit_code: i64,
    output: String,
    result: Option<String>,
    /// Whether the host stopped it for that: code may give the same exit code itself.
    #[serde(skip)]
    timed_out: bool,
}

/// The argument of a sandbox's tool.
#[derive(Serialize)]
struct Argument<'a> {
    code: &'a str,
}

/// Runs the blocks. When the client hangs up, this future is dropped, which stops the block that runs, records that, and
/// begins no other.
pub(super) async fn run(State(door): State<Arc<Door>>, request: Request) -> Response {
    let result = match door.agent(request.headers()) {
        // A 401 has no call id: see the invariant in `access`.
        Err(refusal) => Err(Problem::from(refusal)),
        Ok(caller) => answer(&door, caller, request).await.map(|answer| json(&answer)),
    };
    door.answer(Route::Code, result)
}

async fn answer(door: &Door, caller: Arc<Caller>, request: Request) -> Result<CodeAnswer, Problem> {
    let started = Instant::now();
    if door.is_draining() {
        return Err(Problem::new(Code::ShuttingDown, "the host is stopping; try again in a moment"));
    }
    let context = headers::context(request.headers())?;
    let waits = headers::deadline(request.headers(), door.code.timeout_max, door.code.timeout_max)?;
    let bytes = body::read(request.into_body(), door.body_bytes_max, door.body_time_max.min(waits)).await?;
    let CodeBody { blocks, timeout_ms } = parse(&bytes)?;
    check(&blocks, timeout_ms)?;
    let timeout = timeout_ms.map_or(door.code.timeout, Duration::from_millis);
    let deadline = started + timeout.min(door.code.timeout_max).min(waits);

    let place = door.code_places.take()?;
    // Nothing is run after a block of another language.
    let runs = blocks.iter().take_while(|block| is_python(&block.language));
    let program = Arc::new(Program::new(runs.map(|block| block.code.clone())));
    let execution = Execution { door, place, caller, context, deadline, program, sent: RequestSent::No };
    execution.run(blocks).await
}

/// # Errors
/// [`Code::BadRequest`] with what to write instead.
fn check(blocks: &[Block], timeout_ms: Option<u64>) -> Result<(), Refusal> {
    let refused = |message: String| Err(Refusal::new(Code::BadRequest, message));
    if blocks.is_empty() {
        return refused("`blocks` is empty: give at least one block with `language` and `code`".to_owned());
    }
    if blocks.len() > BLOCKS_MAX {
        return refused(format!("there are {} blocks; at most {BLOCKS_MAX} are run at once", blocks.len()));
    }
    if timeout_ms == Some(0) {
        return refused("`timeout_ms` must be a whole number of milliseconds from 1 on".to_owned());
    }
    Ok(())
}

/// The blocks of one request, on their way.
struct Execution<'d> {
    door: &'d Door,
    /// Held for all blocks; given back while they wait for people.
    place: Taken<'d>,
    caller: Arc<Caller>,
    context: CallContext,
    deadline: Instant,
    /// All the code that may be run: people, where they have to agree, agree to all of it.
    program: Arc<Program>,
    /// What is known of the wire, of all blocks so far.
    sent: RequestSent,
}

impl Execution<'_> {
    async fn run(mut self, blocks: Vec<Block>) -> Result<CodeAnswer, Problem> {
        let mut answer = CodeAnswer::default();
        let mut output = Output::new(self.door.code.output_bytes_max);
        for block in blocks {
            let ran = if is_python(&block.language) {
                self.block(&block.code, &mut answer.calls).await?
            } else {
                unknown_language(&block.language)
            };
            output.add(&ran.output);
            if ran.timed_out {
                output.add("Timeout");
            }
            (answer.exit_code, answer.result) = (ran.exit_code, ran.result);
            if answer.exit_code != 0 {
                break;
            }
        }
        answer.output = output.into_text();
        Ok(answer)
    }

    /// Runs one block: a call of its own, so that it's recorded, and can be refused and stopped, like any other.
    async fn block(&mut self, code: &str, calls: &mut Vec<CallId>) -> Result<Ran, Problem> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(stopped(TIMED_OUT, "the time was up before this block began"));
        }
        let id = CallId::fresh(self.door.app.clock.now());
        calls.push(id.clone());
        // The token was looked at when the request came, and the blocks before this one took their time.
        self.door.app.auth.alive(&self.caller).map_err(|error| self.problem(gone(&error), &id))?;
        let arguments = serde_json::to_vec(&Argument { code }).unwrap_or_default();
        let request = CallRequest {
            caller: self.caller.clone(),
            tool: SANDBOX_TOOL.to_owned(),
            arguments: Bytes::from(arguments),
            call: id.clone(),
            context: self.context.clone(),
            deadline: left,
            program: Some(self.program.clone()),
        };
        // Ids only: code and its output are never logged.
        let span = tracing::info_span!("code", call = %id, token = %self.caller.token());
        let ran = self.door.app.pipeline.call_at(request, &mut self.place).instrument(span).await;
        let sent = ran.request_sent();
        self.sent = self.sent.and(sent);
        match ran.into_result() {
            Ok(narrow) => serde_json::from_slice(&narrow.into_bytes()).map_err(|_| {
                let refusal = Refusal::new(Code::InvalidOutput, "the sandbox gave an exit code that is none");
                self.problem(refusal, &id)
            }),
            Err(refusal) => match exit_code(refusal.code) {
                Some(code) => Ok(stopped(code, &sentence(code, &refusal))),
                None => Err(self.problem(refusal, &id)),
            },
        }
    }

    /// A refusal of one block is one of all: what is said of the wire is of all that ran.
    fn problem(&self, refusal: Refusal, call: &CallId) -> Problem {
        let sent = self.sent.and(refusal.request_sent);
        Problem::of_call(refusal.sent(sent), call.clone())
    }
}

/// The output of all blocks, up to its limit: of a longer one the beginning, and the end, where it says what failed.
struct Output {
    head: String,
    tail: String,
    bytes_max: usize,
    is_cut: bool,
}

impl Output {
    fn new(bytes_max: usize) -> Self {
        Self { head: String::new(), tail: String::new(), bytes_max, is_cut: false }
    }

    fn add(&mut self, text: &str) {
        let head_max = self.bytes_max - self.bytes_max / 4;
        let has_ended = self.is_cut || !self.tail.is_empty();
        let room = if has_ended { 0 } else { head_max.saturating_sub(self.head.len()) };
        let (head, tail) = text.split_at_checked(text.floor_char_boundary(room)).unwrap_or((text, ""));
        self.head.push_str(head);
        self.tail.push_str(tail);
        let surplus = (self.head.len() + self.tail.len()).saturating_sub(self.bytes_max);
        if surplus > 0 {
            self.is_cut = true;
            self.tail.drain(..self.tail.ceil_char_boundary(surplus));
        }
    }

    fn into_text(self) -> String {
        let Self { head: mut text, tail, is_cut, .. } = self;
        if is_cut {
            text.push_str(CUT);
        }
        text.push_str(&tail);
        text
    }
}

/// The exit code of a call that the sandbox didn't survive. `None`: it's a refusal.
fn exit_code(code: Code) -> Option<i64> {
    match code {
        Code::DeadlineExceeded => Some(TIMED_OUT),
        Code::ToolTrapped => Some(BROKE_DOWN),
        Code::ToolLimit => Some(OVER_LIMIT),
        _ => None,
    }
}

/// What the model reads in place of what the code printed, which went with its instance.
fn sentence(code: i64, refusal: &Refusal) -> String {
    let what = match code {
        // It says what is known of the wire itself.
        TIMED_OUT => return refusal.message.clone(),
        BROKE_DOWN => "the interpreter broke down while it ran this code",
        _ => &refusal.message,
    };
    let sent = match refusal.request_sent {
        RequestSent::No => "nothing was sent upstream",
        RequestSent::Yes => "a request was sent, and the upstream answered it",
        RequestSent::Unknown => "a request may have been carried out",
    };
    format!("{what}; {sent}")
}

/// What there is to say of a block that the host didn't run to its end.
fn stopped(exit_code: i64, sentence: &str) -> Ran {
    let output = format!("[{sentence}]\n");
    Ran { exit_code, output, result: None, timed_out: exit_code == TIMED_OUT }
}

fn is_python(language: &str) -> bool {
    ["python", "py"].iter().any(|known| language.eq_ignore_ascii_case(known))
}

fn unknown_language(language: &str) -> Ran {
    let shown = visible(language, 32);
    stopped(1, &format!("this sandbox runs Python alone, not {shown:?}: write the block in Python"))
}

fn gone(error: &AuthError) -> Refusal {
    match error {
        AuthError::Unauthorized => Refusal::new(
            Code::Unauthorized,
            "the token was revoked or has expired; nothing more is run with it",
        ),
        other => unable("check tokens", other),
    }
}
