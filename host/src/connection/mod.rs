//! Upstreams that the operator set up: files → connections; a canonical request → [`TypedSend`].

mod attach;
mod typed;

pub use attach::Attach;
pub use typed::TypedSend;
