//! Names → addresses that requests may go to.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::wire::BoxFuture;

/// Looks names up. What it answers is classified before use, whoever answers.
pub trait Resolve: Send + Sync {
    /// All addresses of a name.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|a| a.ip()).collect()) })
    }
}

/// An address that requests may go to.
///
/// INVARIANT (checked address): built only in this file, after its class was found to be allowed for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicAddr(SocketAddr);

impl PublicAddr {
    /// The address and port.
    #[must_use]
    pub fn get(self) -> SocketAddr {
        self.0
    }
}
