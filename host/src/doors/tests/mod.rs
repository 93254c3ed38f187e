//! The door as its clients meet it.

mod access;
mod agents;
mod approvals;
mod budgets;
mod calls;
mod client;
mod code;
mod delegate;
mod enforce;
mod golden;
mod host;
mod kill;
mod proxy;
mod routes;
mod sockets;
mod tokens;
mod vault_keys;
