//! The door as its clients meet it.

mod access;
mod agents;
mod approvals;
mod approved_calls;
mod budgets;
mod calls;
mod client;
mod clock;
mod code;
mod delegate;
mod enforce;
mod enforce_budgets;
mod environments;
mod golden;
mod host;
mod kill;
mod mcp;
mod proxy;
mod routes;
mod sockets;
mod tokens;
mod user_secrets;
mod vault_keys;
