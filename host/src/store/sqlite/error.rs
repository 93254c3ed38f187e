//! What SQLite says → what an operator can act on.

use rusqlite::ErrorCode;

use crate::store::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                Self::Failed("the disk is full, or the database has reached its size limit".to_owned())
            }
            Some(ErrorCode::ReadOnly) => Self::Failed(
                "the database is read-only: check the file's and the disk's permissions".to_owned(),
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Failed("another process has kept the database locked for too long".to_owned())
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Whether a row was refused because its key is taken.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|cause| {
        [rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE]
            .contains(&cause.extended_code)
    })
}
