//! A request that is one of a connection's operations, its parameters typed.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Connection, Cost, Operation};
use crate::egress::{Canonical, FailureReason, SendFailure};
use crate::ids::{ConnectionName, OperationName, SecretLabel};

/// A canonical request, matched to an operation, every parameter checked against its type.
///
/// INVARIANT (typed): built only by [`Connection::type_request`]; the parameters are those of the request's bytes.
#[derive(Debug)]
pub struct TypedSend {
    connection: Arc<Connection>,
    operation: Arc<Operation>,
    request: Canonical,
    parameters: Parameters,
    cost: Option<Cost>,
}

/// A request's parameters, typed: `5` where an integer was declared, not `"5"`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// Those in the path.
    pub path: Map<String, Value>,
    /// Those in the query.
    pub query: Map<String, Value>,
    /// The fields of a form, or the top-level properties of a JSON body.
    pub body: Map<String, Value>,
}

impl TypedSend {
    /// Where it goes.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// What it does there.
    #[must_use]
    pub fn operation(&self) -> &Arc<Operation> {
        &self.operation
    }

    /// The connection's name.
    #[must_use]
    pub fn connection_name(&self) -> &ConnectionName {
        &self.connection.name
    }

    /// The operation's name.
    #[must_use]
    pub fn operation_name(&self) -> &OperationName {
        &self.operation.name
    }

    /// The label of the secret that will be attached.
    #[must_use]
    pub fn secret(&self) -> &SecretLabel {
        &self.connection.secret
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Canonical {
        &self.request
    }

    /// Its parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What it costs, when the operation has a cost rule.
    #[must_use]
    pub fn cost(&self) -> Option<&Cost> {
        self.cost.as_ref()
    }
}

impl Connection {
    /// Finds the operation that a request is, and types its parameters.
    ///
    /// # Errors
    /// [`FailureReason::UnknownOperation`] when no operation has this method and path;
    /// [`FailureReason::InvalidRequest`] with the parameter's name when one is missing, undeclared or of the wrong
    /// type.
    pub fn type_request(self: &Arc<Self>, request: Canonical) -> Result<TypedSend, SendFailure> {
        let _ = request;
        Err(SendFailure::unsent(FailureReason::Internal, "not built yet"))
    }
}
