//! What the end-to-end tests, the benchmarks and the demo need around a host.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ca`] | a throw-away certificate authority |
//! | [`front`] | a TLS front for a server that speaks plain HTTP |
//! | [`upstream`] | a TLS upstream that answers by script, honestly or not |
//! | [`process`] | programs started for a test and surely stopped after it |
//!
//! Nothing here listens anywhere but on loopback.

pub mod ca;
pub mod front;
pub mod process;
pub mod upstream;
