//! Upstreams that the operator set up: files → connections; a canonical request → [`TypedSend`].

mod typed;

pub use typed::TypedSend;
