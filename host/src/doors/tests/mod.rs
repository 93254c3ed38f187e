//! The door as its clients meet it.

mod client;
mod sockets;
