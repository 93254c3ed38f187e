//! Keybearer runs agent tools that never hold the key.
//!
//! `docs/ARCHITECTURE.md` says how it is built: the way of a request, what lies where, and why so.
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
pub mod json;
pub mod kill;
pub mod ledger;
pub mod look;
pub mod metrics;
pub mod pipeline;
pub mod policy;
pub mod reach;
pub mod refusal;
pub mod runtime;
pub mod store;
pub mod text;
