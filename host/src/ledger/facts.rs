//! What budgets are told of a request.

use crate::clock::Millis;
use crate::connection::{Cost, Effect, Operation, Parameters, TypedSend};
use crate::ids::{AgentId, ConnectionName, ConversationId, OperationName, Realm, RoleName, TokenId};
use crate::ledger::{Budget, Subject};

/// A request that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct SpendFacts<'a> {
    /// Whose it is.
    pub realm: &'a Realm,
    /// The conversation, if it's known.
    pub conversation: Option<&'a ConversationId>,
    /// The token that asks, then the one that it was delegated from, and so on up.
    pub chain: &'a [Link<'a>],
    /// Where it goes.
    pub connection: &'a ConnectionName,
    /// What it does there.
    pub operation: &'a OperationName,
    /// Whether that changes anything.
    pub effect: Effect,
    /// Whether its reply says what was really spent.
    pub settles: bool,
    /// The customer whom it concerns.
    pub customer: Customer<'a>,
    /// What it costs.
    pub cost: Option<&'a Cost>,
    /// The time.
    pub now: Millis,
}

/// One token of those that a request is made under.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The token.
    pub token: &'a TokenId,
    /// The agent that it was minted for.
    pub agent: &'a AgentId,
    /// That agent's role.
    pub role: Option<&'a RoleName>,
    /// The budgets of its grant.
    pub budgets: &'a [Budget],
}

/// The customer whom a request concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Customer<'a> {
    /// The operation says nothing of customers.
    NotConcerned,
    /// The operation says where a customer is named, and the request names none.
    Unnamed,
    /// This one.
    Named(&'a str),
}

impl<'a> Customer<'a> {
    /// The customer of an operation with these parameters.
    #[must_use]
    pub fn of(operation: &'a Operation, parameters: &'a Parameters) -> Self {
        let Some(place) = &operation.customer else { return Self::NotConcerned };
        match place.value(parameters).and_then(|value| value.as_str()) {
            None | Some("") => Self::Unnamed,
            Some(id) => Self::Named(id),
        }
    }
}

impl<'a> SpendFacts<'a> {
    /// The facts of a typed request.
    #[must_use]
    pub fn of(
        send: &'a TypedSend,
        realm: &'a Realm,
        conversation: Option<&'a ConversationId>,
        chain: &'a [Link<'a>],
        now: Millis,
    ) -> Self {
        Self {
            realm,
            conversation,
            chain,
            connection: send.connection_name(),
            operation: send.operation_name(),
            effect: send.operation().effect,
            settles: send.operation().settle.is_some(),
            customer: Customer::of(send.operation(), send.parameters()),
            cost: send.cost(),
            now,
        }
    }

    /// Everyone whom the request concerns, once each: the nearest to the caller first, as that is whom it hears of.
    ///
    /// The agents and roles of all links are among them: an agent that hands its work to another spends its own.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let mut found: Vec<Subject> = Vec::with_capacity(8);
        let mut add = |subject| {
            if !found.contains(&subject) {
                found.push(subject);
            }
        };
        self.chain.iter().for_each(|link| add(Subject::Token(link.token.clone())));
        match (self.conversation, self.chain.first()) {
            (Some(conversation), _) => add(Subject::Conversation(conversation.clone())),
            (None, Some(link)) => add(Subject::NoConversation(link.agent.clone())),
            (None, None) => {}
        }
        self.chain.iter().for_each(|link| add(Subject::Agent(link.agent.clone())));
        self.chain
            .iter()
            .for_each(|link| add(link.role.map_or(Subject::NoRole, |r| Subject::Role(r.clone()))));
        match self.customer {
            Customer::NotConcerned => {}
            Customer::Unnamed => add(Subject::NoCustomer),
            Customer::Named(id) => add(Subject::customer(id)),
        }
        add(Subject::Connection(self.connection.clone()));
        add(Subject::Tenant);
        found
    }
}
