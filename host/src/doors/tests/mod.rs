//! The door as its clients meet it.

mod access;
mod approvals;
mod calls;
mod client;
mod delegate;
mod golden;
mod host;
mod kill;
mod proxy;
mod routes;
mod sockets;
mod tokens;
