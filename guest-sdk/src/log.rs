//! Messages for the operator.
//!
//! They're bounded in number and size, and tagged with the call. In place of a secret that the host injected for the call, and
//! of what looks like a credential (`sk_live_…`, `Authorization: …`, `password: …`), `[REDACTED]` is written. The agent
//! doesn't see them.

use crate::bindings::keybearer::tool::log::Level;

/// Detail for the tool's author.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// What happened.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// Something that may need attention.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// Something that went wrong.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    crate::bindings::keybearer::tool::log::write(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    crate::testing::logged(level, message);
}
