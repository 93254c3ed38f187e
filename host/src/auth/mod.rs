//! Bearer token → [`Caller`].

mod caller;
mod grant;

pub use caller::{Alive, Caller};
pub use grant::{Grant, OperationPattern, ToolPattern};
