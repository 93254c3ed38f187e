//! The door as its clients meet it.

mod access;
mod approvals;
mod calls;
mod client;
mod host;
mod proxy;
mod routes;
mod sockets;
mod tokens;
