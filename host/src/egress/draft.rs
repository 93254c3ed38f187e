//! A request as a guest words it: nothing in it has been checked.

use bytes::Bytes;

/// A request before any check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The connection's name, as the guest wrote it.
    pub connection: String,
    /// The method.
    pub method: String,
    /// The path below the connection's base URL.
    pub path: String,
    /// Query parameters, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Extra headers.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    pub body: Option<DraftBody>,
}

/// A body before any check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftBody {
    /// One JSON text.
    Json(String),
    /// Form fields, not yet encoded.
    Form(Vec<(String, String)>),
    /// Any other media type.
    Bytes {
        /// The media type.
        content_type: String,
        /// The bytes.
        data: Bytes,
    },
}
