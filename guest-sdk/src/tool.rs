//! Tools: what `#[tool]` makes of a function, and what `export!` makes of tools.

use crate::json::{FromJson, JsonError, Reader, ToJson};
use crate::schema::{Facets, ObjectSchema, Schema};
use crate::{Error, ErrorKind, Result, bindings};

/// A function that an agent can call. `#[tool]` implements it for a type with the function's name.
pub trait Tool {
    /// The tool's name.
    const NAME: &'static str;
    /// What it does and when to use it, for the model.
    const DESCRIPTION: &'static str;
    /// The connections that it uses.
    const CONNECTIONS: &'static [&'static str];
    /// What the agent sends.
    type Args: Args;
    /// What the agent sees.
    type Output: Output;

    /// Runs the tool.
    ///
    /// # Errors
    ///
    /// Whatever the function returns.
    fn run(args: Self::Args) -> Result<Self::Output>;
}

/// Arguments of a tool: a struct that derives `Args`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a tool's arguments",
    note = "use a struct with `#[derive(Args)]`"
)]
pub trait Args: FromJson + Schema {}

/// A result of a tool: a struct that derives `Output`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a tool's result",
    note = "use a struct with `#[derive(Output)]`"
)]
pub trait Output: ToJson + Schema {}

/// The arguments of a tool that takes none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoArgs;

impl FromJson for NoArgs {
    fn from_json(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        reader.object(&mut |_, name| crate::json::unknown_field(name))?;
        Ok(Self)
    }
}

impl Schema for NoArgs {
    const DEPTH: u32 = 1;

    fn write(facets: &Facets, out: &mut String) {
        ObjectSchema::open(facets, out).close();
    }
}

impl Args for NoArgs {}

/// What a tool's function returns. For `#[tool]`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a tool can't return `{Self}`",
    note = "return `keybearer_guest::Result<T>`, where `T` derives `Output`"
)]
pub trait ToolResult {
    type Output: Output;
    fn into_result(self) -> Result<Self::Output>;
}

impl<T: Output> ToolResult for Result<T> {
    type Output = T;

    fn into_result(self) -> Self {
        self
    }
}

/// A tool with its types taken out. For `export!`.
#[doc(hidden)]
pub struct Entry {
    name: &'static str,
    description: &'static str,
    connections: &'static [&'static str],
    input_schema: fn() -> String,
    output_schema: fn() -> String,
    call: fn(&str) -> Result<String>,
}

impl Entry {
    #[must_use]
    pub const fn of<T: Tool>() -> Self {
        Self {
            name: T::NAME,
            description: T::DESCRIPTION,
            connections: T::CONNECTIONS,
            input_schema: schema::<T::Args>,
            output_schema: schema::<T::Output>,
            call: call_one::<T>,
        }
    }
}

pub(crate) fn schema<T: Schema>() -> String {
    let mut out = String::new();
    T::write(&Facets { description: T::DESCRIPTION, ..Facets::NONE }, &mut out);
    out
}

pub(crate) fn call_one<T: Tool>(arguments: &str) -> Result<String> {
    let args = Reader::read(arguments).map_err(|error| Error::invalid_arguments(error.to_string()))?;
    let mut out = String::new();
    let written = T::run(args)?.to_json(&mut out);
    written.map_err(|error| Error::failed(format!("the result can't be written: {error}")))?;
    Ok(out)
}

/// Answers the export `describe`.
#[doc(hidden)]
pub fn describe(tools: &[Entry]) -> Vec<bindings::ToolDescription> {
    let description = |tool: &Entry| bindings::ToolDescription {
        name: tool.name.to_owned(),
        description: tool.description.to_owned(),
        input_schema: (tool.input_schema)(),
        output_schema: (tool.output_schema)(),
        connections: tool.connections.iter().map(|&name| name.to_owned()).collect(),
    };
    tools.iter().map(description).collect()
}

/// Answers the export `call`.
#[doc(hidden)]
pub fn call(tools: &[Entry], name: &str, arguments: &str) -> Result<String, bindings::ToolError> {
    #[cfg(target_arch = "wasm32")]
    log_panics();
    let result = match tools.iter().find(|tool| tool.name == name) {
        Some(tool) => (tool.call)(arguments),
        None => Err(Error::new(ErrorKind::Failed, "this component has no such tool")),
    };
    result.map_err(|error| bindings::ToolError { kind: error.kind(), message: error.message().to_owned() })
}

/// A panic ends the call with a trap that says nothing; where it happened is for the operator's log.
#[cfg(target_arch = "wasm32")]
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::log::error(panic.to_string())));
}

/// Fails to compile when two tools have one name. For `export!`.
#[doc(hidden)]
pub const fn assert_names_differ(tools: &[Entry]) {
    let mut one = 0;
    while one < tools.len() {
        let mut other = one + 1;
        while other < tools.len() {
            assert!(!same(tools[one].name, tools[other].name), "two tools have one name");
            other += 1;
        }
        one += 1;
    }
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// While it lives, a tool is running. Natively the scripted upstream then holds the tool to what it declares; in a
/// component the host does. For `#[tool]`.
#[doc(hidden)]
#[must_use]
pub struct Scope {
    #[cfg(not(target_arch = "wasm32"))]
    _inner: crate::testing::Running,
}

impl Scope {
    #[cfg(target_arch = "wasm32")]
    pub fn enter<T: Tool>() -> Self {
        Self {}
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub fn enter<T: Tool>() -> Self {
        Self { _inner: crate::testing::Running::new(T::NAME, T::CONNECTIONS) }
    }
}
