//! What may be spent: budgets over money, requests and requests at once, one book for all of them.
//!
//! ```text
//! Budgets (the operator's) ┐
//! Grant.budgets (tokens')  ┴ + SpendFacts → Lines → Reservation
//!     → reserve: every line or none, in the transaction that records the send's intent
//!     → finish:  settle · release · refuse · hold, in the one that records its outcome
//! ```
//!
//! Everything here is pure but for the transaction it's given, [`LedgerTx`](crate::store::LedgerTx).

mod book;
mod budget;
mod budgets;
mod calls;
mod dedup;
mod facts;
mod line;
mod made;
pub mod money;
mod question;
mod refund;
pub mod report;
mod reservation;
mod settlement;
mod shortfall;
mod subject;
#[cfg(test)]
mod tests;
mod window;
mod written;

pub use book::{
    AMOUNT_MAX, Resolved, finish, forget_tokens, hold, prune, recover, refuse, release, reserve,
    reserve_attempt, resolve, settle, spend,
};
pub use budget::{Budget, GRANT_BUDGETS_MAX, Unit, Window};
pub use budgets::{Budgets, LiveBudgets, Rule};
pub use calls::{CallLimit, call_lines};
pub use dedup::{Dedup, FirstOutcome, WriteFacts, dedup_key, dedup_salt, idempotency_value};
pub use facts::{Customer, Link, SpendFacts};
pub use line::{Counted, Line, Lines};
pub use made::{made_before, no_room};
pub use question::{QuestionFacts, question_key};
pub use refund::{Refund, give_back};
pub use reservation::{Reservation, Reserved};
pub use settlement::Settlement;
pub use shortfall::Shortfall;
pub use subject::{SUBJECT_FORMS, Subject, SubjectRule};
pub use window::Period;
pub use written::InvalidBudget;
