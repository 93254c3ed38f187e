//! A request that is one of a connection's operations, its parameters typed.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::file::parameters::stem;
use super::parameter::{check_object, shown_name};
use super::{Connection, Cost, Operation, Parameter, SecretOf, Segment};
use crate::egress::{Canonical, CanonicalBody, is_json};
use crate::ids::{ConnectionName, ConversationId, OperationName, SecretLabel, UserId};
use crate::refusal::{FailureReason, SendFailure};

/// A canonical request, matched to an operation, every parameter checked against its type.
///
/// INVARIANT (typed): built only by [`Connection::accept`], and from what that built by `with_conversation` and `with_key`,
/// which type the request anew: so it has the canonical form of the same connection's rules, and the parameters are those
/// of its bytes.
#[derive(Debug)]
pub struct TypedSend {
    connection: Arc<Connection>,
    operation: Arc<Operation>,
    request: Canonical,
    parameters: Parameters,
    cost: Option<Cost>,
    idempotency: Option<(HeaderName, HeaderValue)>,
    /// The host's own key for this write, where it's in the body.
    key: Option<String>,
    user: Option<UserId>,
}

/// A request's parameters, typed: `5` where an integer was declared, not `"5"`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// Those in the path.
    pub path: Map<String, Value>,
    /// Those in the query.
    pub query: Map<String, Value>,
    /// The fields of a form, or the top-level properties of a JSON body; the one that a body which is a list stands for.
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

    /// Has the host's own key for this write sent along, where the connection says in which header.
    pub(crate) fn set_idempotency_key(&mut self, key: &str) {
        let header = self.connection.idempotency_header.clone();
        self.idempotency = header.zip(HeaderValue::from_str(key).ok());
    }

    /// The host's own key for this write, and the header that it's sent in: in place of whatever was given there.
    #[must_use]
    pub fn idempotency(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.idempotency.as_ref()
    }

    /// The same request with its conversation's id in its body, where the operation says in which field. It comes before
    /// whatever else is added to the request: neither its user nor its key is there yet.
    ///
    /// # Errors
    /// [`FailureReason::InvalidRequest`] where the body becomes too large, or the id isn't what is declared for the field.
    pub(super) fn with_conversation(self, conversation: &ConversationId) -> Result<Self, SendFailure> {
        let Some(field) = self.operation.conversation_field.clone() else { return Ok(self) };
        let request = self.request.with_member(&field, conversation.as_str(), &self.connection)?;
        self.connection.type_request(request)
    }

    /// The same request with the host's own key for this write in its body, where the operation says in which field. It's
    /// the same key with each attempt at the write: it's part of what is decided on.
    ///
    /// # Errors
    /// [`FailureReason::InvalidRequest`] where the body becomes too large.
    pub(crate) fn with_key(self, key: &str) -> Result<Self, SendFailure> {
        let Some(field) = self.operation.key_field.clone() else { return Ok(self) };
        let request = self.request.with_member(&field, key, &self.connection)?;
        let typed = self.connection.type_request(request)?;
        Ok(Self { key: Some(key.to_owned()), user: self.user, ..typed })
    }

    /// The host's own key for this write, where its body carries it: so the upstream's record does.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The same request, if it leaves out what the host alone writes.
    ///
    /// # Errors
    /// [`FailureReason::InvalidRequest`] with the field that it fills.
    pub(super) fn untouched(self) -> Result<Self, SendFailure> {
        let by_host = [&self.operation.conversation_field, &self.operation.key_field];
        let filled = by_host.into_iter().flatten().find(|field| self.parameters.body.contains_key(*field));
        match filled {
            None => Ok(self),
            Some(field) => Err(SendFailure::unsent(
                FailureReason::InvalidRequest,
                format!(
                    "{}:{}: body.{field} is written by the host alone",
                    self.connection.name, self.operation.name
                ),
            )),
        }
    }

    /// Binds the request to whom it's made for, where the connection uses that user's own secret: whose secret is attached
    /// is part of what is decided on.
    ///
    /// # Errors
    /// [`FailureReason::Denied`] where it does and there's no user.
    pub(crate) fn bind(&mut self, user: Option<&UserId>) -> Result<(), SendFailure> {
        self.connection.check_user(user)?;
        self.user = user.filter(|_| self.connection.secret_of == SecretOf::User).cloned();
        Ok(())
    }

    /// The user whose own secret will be attached; `None` for an operator's.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// What it costs, when the operation has a cost rule.
    #[must_use]
    pub fn cost(&self) -> Option<&Cost> {
        self.cost.as_ref()
    }
}

impl Operation {
    /// Checks parameters that came as values rather than as a request's bytes, and answers what the operation costs
    /// with them, when it has a cost rule.
    ///
    /// # Errors
    /// The parameter that is missing, undeclared or of the wrong type.
    pub fn check(&self, parameters: &Parameters) -> Result<Option<Cost>, String> {
        for (place, declared, given) in [
            ("path", &self.path_parameters, &parameters.path),
            ("query", &self.query_parameters, &parameters.query),
            ("body", &self.body_parameters, &parameters.body),
        ] {
            check_object(declared, given)
                .map_err(|mismatch| format!("{place}.{} {}", mismatch.at, mismatch.rule))?;
        }
        self.cost.as_ref().map(|rule| rule.cost(parameters)).transpose().map_err(str::to_owned)
    }
}

impl Connection {
    /// Whether a request for this user, or for nobody, can have a secret here.
    ///
    /// # Errors
    /// [`FailureReason::Denied`] where the secret is to be a user's own and there's no user.
    pub fn check_user(&self, user: Option<&UserId>) -> Result<(), SendFailure> {
        match (self.secret_of, user) {
            (SecretOf::User, None) => Err(SendFailure::unsent(
                FailureReason::Denied,
                format!(
                    "the connection {} uses the own secret of a user, and this token is bound to no user; ask the operator \
                     for one that is",
                    self.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Finds the operation that a request is, and types its parameters.
    ///
    /// # Errors
    /// [`FailureReason::UnknownOperation`] when no operation has this method and path;
    /// [`FailureReason::InvalidRequest`] with the parameter's name when one is missing, undeclared or of the wrong
    /// type.
    pub(super) fn type_request(self: &Arc<Self>, request: Canonical) -> Result<TypedSend, SendFailure> {
        let (operation, path) = self.find(&request)?;
        let invalid = |rule: String| {
            SendFailure::unsent(
                FailureReason::InvalidRequest,
                format!("{}:{}: {rule}", self.name, operation.name),
            )
        };
        let query = type_pairs("query", &operation.query_parameters, request.query()).map_err(invalid)?;
        let request = self.settle_content_type(operation, request).map_err(invalid)?;
        let body = type_body(operation, request.body()).map_err(invalid)?;
        let parameters = Parameters { path, query, body };
        let cost = operation.cost.as_ref().map(|rule| rule.cost(&parameters)).transpose();
        let cost = cost.map_err(|rule| invalid(rule.to_owned()))?;
        Ok(TypedSend {
            connection: self.clone(),
            operation: operation.clone(),
            request,
            parameters,
            cost,
            idempotency: None,
            key: None,
            user: None,
        })
    }

    /// The one operation of this method and path. Several may have the path's form; by INVARIANT (one operation) the
    /// types of at most one take its parameters.
    fn find(&self, request: &Canonical) -> Result<(&Arc<Operation>, Map<String, Value>), SendFailure> {
        let mut refusal = None;
        for operation in self.operations.iter().filter(|o| o.method == *request.method()) {
            if operation.path.has_form(request.segments()) {
                match type_path(operation, request.segments()) {
                    Ok(path) => return Ok((operation, path)),
                    Err(rule) => refusal = Some(format!("{}:{}: {rule}", self.name, operation.name)),
                }
            }
        }
        Err(match refusal {
            Some(rule) => SendFailure::unsent(FailureReason::InvalidRequest, rule),
            None => SendFailure::unsent(
                FailureReason::UnknownOperation,
                format!(
                    "the connection {} has no operation for this {} request's path",
                    self.name,
                    request.method()
                ),
            )
            .because(format!("no operation matches {} {}", request.method(), request.path())),
        })
    }

    /// The body must be of the operation's media type, with whatever parameters; JSON goes out under the operation's own name
    /// for it.
    fn settle_content_type(&self, operation: &Operation, request: Canonical) -> Result<Canonical, String> {
        match (operation.content_type.as_deref(), request.media_type()) {
            (None, None) => Ok(request),
            (None, Some(_)) => Err("this operation has no body".into()),
            (Some(expected), None) => Err(format!("this operation needs a body of type {expected}")),
            (Some(expected), Some(given)) if expected == given => Ok(request),
            (Some(expected), Some(given)) if is_json(expected) && is_json(given) => {
                Ok(request.with_content_type(expected, self))
            }
            (Some(expected), Some(_)) => Err(format!("the body's type must be {expected}")),
        }
    }
}

fn type_path(operation: &Operation, segments: &[String]) -> Result<Map<String, Value>, String> {
    let mut typed = Map::new();
    for (template, text) in operation.path.segments().iter().zip(segments) {
        let Segment::Parameter(name) = template else { continue };
        let parameter =
            operation.path_parameters.get(name).ok_or_else(|| format!("path.{name} has no type"))?;
        let value =
            parameter.kind.of_text(text).map_err(|mismatch| format!("path.{name} {}", mismatch.rule))?;
        typed.insert(name.clone(), value);
    }
    Ok(typed)
}

fn type_pairs(
    place: &str,
    declared: &BTreeMap<String, Parameter>,
    pairs: &[(String, String)],
) -> Result<Map<String, Value>, String> {
    let mut typed = Map::new();
    for (name, text) in pairs {
        let Some(parameter) = declared.get(name) else {
            return Err(undeclared(place, declared, name));
        };
        let value =
            parameter.kind.of_text(text).map_err(|mismatch| format!("{place}.{name} {}", mismatch.rule))?;
        typed.insert(name.clone(), value);
    }
    match declared.iter().find(|(name, parameter)| !parameter.optional && !typed.contains_key(*name)) {
        Some((name, _)) => Err(format!("{place}.{name} is missing")),
        None => Ok(typed),
    }
}

/// Undeclared, and the more suspicious when a server would read it as a declared one.
fn undeclared(place: &str, declared: &BTreeMap<String, Parameter>, name: &str) -> String {
    let shown = shown_name(name);
    match declared.get_key_value(stem(name)) {
        Some((real, _)) => format!("{place}.{shown} is another spelling of {place}.{real}, which is refused"),
        None => format!("{place}.{shown} isn't declared"),
    }
}

fn type_body(operation: &Operation, body: &CanonicalBody) -> Result<Map<String, Value>, String> {
    match body {
        CanonicalBody::None | CanonicalBody::Raw => Ok(Map::new()),
        CanonicalBody::Form(fields) => type_pairs("body", &operation.body_parameters, fields),
        CanonicalBody::Json(body) => {
            let members = match (&operation.body_is, body) {
                (None, Value::Object(object)) => object.clone(),
                (None, _) => return Err("the JSON body must be an object".into()),
                (Some(name), Value::Array(_)) => Map::from_iter([(name.clone(), body.clone())]),
                (Some(_), _) => return Err("the JSON body must be an array".into()),
            };
            match check_object(&operation.body_parameters, &members) {
                Ok(()) => Ok(members),
                Err(mismatch) => Err(format!("body.{} {}", mismatch.at, mismatch.rule)),
            }
        }
    }
}
