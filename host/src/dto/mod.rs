//! Arguments in, results out: what an agent may send and what it may see.

mod arguments;
mod narrow;
mod schema;
mod subset;
mod violation;

pub use arguments::{ARGUMENTS_BYTES_MAX, ArgumentError, Arguments};
pub use narrow::{DtoError, Narrow, RESULT_BYTES_MAX};
pub use schema::{InputSchema, OutputSchema, SCHEMA_BYTES_MAX, SchemaError};
