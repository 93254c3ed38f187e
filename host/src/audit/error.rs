//! Why the trail can't be used.

use std::sync::Arc;

use crate::store::StoreError;

/// Why a row wasn't recorded, or rows couldn't be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// Too many intents wait to be written. Nothing was recorded; the caller may try again.
    #[error("too many rows wait for the audit trail")]
    Full,
    /// The agent, or one that it acts for, has as many calls under way as it may have at once. That the call was refused
    /// is recorded.
    #[error("too many calls of this agent are under way")]
    TooManyCalls,
    /// The trail can't be written or read. Nothing was recorded.
    #[error("the audit trail is unavailable: {0}")]
    Unavailable(Arc<StoreError>),
}

impl AuditError {
    /// The writer has ended.
    pub(super) fn stopped() -> Self {
        StoreError::Failed("the audit writer has ended".to_owned()).into()
    }
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}
