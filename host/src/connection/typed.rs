//! A request that is one of a connection's operations, its parameters typed.

use crate::egress::Canonical;
use crate::ids::{ConnectionName, OperationName, SecretLabel};

/// A canonical request, matched to an operation, every parameter checked against its type.
#[derive(Debug)]
pub struct TypedSend {
    connection: ConnectionName,
    operation: OperationName,
    secret: SecretLabel,
    request: Canonical,
}

impl TypedSend {
    /// The connection's name.
    #[must_use]
    pub fn connection_name(&self) -> &ConnectionName {
        &self.connection
    }

    /// The operation's name.
    #[must_use]
    pub fn operation_name(&self) -> &OperationName {
        &self.operation
    }

    /// The label of the secret that will be attached.
    #[must_use]
    pub fn secret(&self) -> &SecretLabel {
        &self.secret
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Canonical {
        &self.request
    }
}
