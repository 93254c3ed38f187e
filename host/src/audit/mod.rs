//! The audit trail: intents before acts, outcomes before answers, rows chained by hash.

mod row;

pub use row::{CallBegun, CallFinished, CallMark, Event, Row, SendBegun, SendFinished};
