//! What SQLite says → what an operator can act on.

use rusqlite::ErrorCode;

use crate::store::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                Self::Failed("the disk is full, or the database has reached its size limit".to_owned())
            }
            Some(ErrorCode::SystemIoFailure) if is_unwritten(&error) => Self::Failed(
                "a write failed: the disk is full, a limit on space or on files is reached, or the disk breaks down"
                    .to_owned(),
            ),
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

/// Whether something couldn't be written that wasn't said to be for want of room. A database that is opened on a full disk
/// fails so, at its index of the log (`-shm`), and so does any write beyond a quota.
fn is_unwritten(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code().is_some_and(|code| {
        [rusqlite::ffi::SQLITE_IOERR_SHMSIZE, rusqlite::ffi::SQLITE_IOERR_WRITE].contains(&code)
    })
}

/// Whether a row was refused because its key is taken.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|cause| {
        [rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE]
            .contains(&cause.extended_code)
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{Error, SQLITE_IOERR_READ, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};

    use super::*;

    #[test]
    fn a_disk_that_may_be_full_is_not_said_to_be_dying() {
        let said =
            |code| StoreError::from(rusqlite::Error::SqliteFailure(Error::new(code), None)).to_string();
        for code in [SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE] {
            assert!(said(code).contains("the disk is full"), "{}", said(code));
        }
        assert!(!said(SQLITE_IOERR_READ).contains("full"), "{}", said(SQLITE_IOERR_READ));
    }
}
