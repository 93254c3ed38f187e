//! What may be spent: budgets over money, requests and requests at once, one book for all of them.

mod budget;
mod written;

pub use budget::{Budget, Unit, Window};
pub use written::InvalidBudget;
