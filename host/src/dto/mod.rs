//! Arguments in, results out: what an agent may send and what it may see.

mod arguments;
mod json;
mod narrow;
pub(crate) mod object;
mod schema;
mod subset;
mod violation;

pub use arguments::{ARGUMENTS_BYTES_MAX, ArgumentError, Arguments};
pub use json::JsonError;
pub(crate) use json::{parse as read_json, text as json_text};
pub use narrow::{DtoError, Narrow, RESULT_BYTES_MAX};
pub(crate) use object::Object;
pub use schema::{InputSchema, OutputSchema, SCHEMA_BYTES_MAX, SchemaError};
