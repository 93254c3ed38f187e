//! Keybearer runs agent tools that never hold the key.
//!
//! ```text
//! door (HTTP)
//!   → auth       bearer token → Caller
//!   → policy     Caller + tool + arguments → Permitted<Invocation>
//!   → audit      begin: the intent is on disk before anything runs
//!   → runtime    a fresh instance: limits on time, memory, output, sends
//!       → credentialed-http: Draft → Canonical → operation matched, parameters typed
//!         → policy   Permitted<TypedSend>
//!         → audit    the send's intent is on disk before bytes leave
//!         → egress   secret attached → checked address → reply → decompress → cap → leak sweep → allow-list
//!   → dto        output schema, closed; leak sweep
//!   → audit      finish: the outcome is on disk before the answer leaves
//!   → door       the one file that picks a status code
//! ```
//!
//! `docs/ARCHITECTURE.md` tells the same at length.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod app;
pub mod approval;
pub mod audit;
pub mod auth;
pub mod build;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
mod digested;
pub mod doors;
pub mod dto;
pub mod egress;
pub mod fixture;
pub mod home;
pub mod ids;
pub mod kill;
pub mod ledger;
pub mod metrics;
pub mod pipeline;
pub mod policy;
pub mod reach;
pub mod refusal;
pub mod runtime;
pub mod store;
pub mod text;
