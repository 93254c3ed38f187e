//! Walks the chain.

use std::fmt;
use std::str::FromStr;

use super::{chain, filed};
use crate::clock::Millis;
use crate::ids::{Digest, InvalidName};
use crate::store::{AuditRecord, AuditStore, RowFilter, StoreError};

/// How many rows are read at once: a few hundred kilobytes.
const PAGE_ROWS: u32 = 1_024;

/// The number and hash of a row. Shown, and read, as `SEQ:sha256:HEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 when the trail is empty.
    pub seq: u64,
    /// Its hash; all zeros when the trail is empty.
    pub hash: Digest,
}

/// A chain that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The newest row that was read; its number is that of the rows.
    pub head: Head,
}

/// A chain that doesn't hold, or couldn't be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first row that doesn't hold. What comes after it proves nothing any more.
    #[error("row {seq} of the audit trail {fault}")]
    Broken {
        /// The number that the row has or should have.
        seq: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// The trail couldn't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It isn't there, and later ones are.
    Missing,
    /// It isn't there, though a head that was kept says that it was. Whoever cut it off may have written anew what comes
    /// before, with other hashes.
    CutOff,
    /// It doesn't follow the row before it.
    Unchained,
    /// It isn't what its hash was made from.
    Changed,
    /// Its hash isn't the one that was kept: it, and any of the rows before it, was written anew.
    Replaced,
    /// It isn't filed under the token, the agent or the conversation that it says, or not as going back in time: it wouldn't
    /// be found, or another one would be.
    Misfiled,
    /// It can't be read.
    Unreadable(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::CutOff => {
                f.write_str("is missing, with all that followed it: no row before it is vouched for")
            }
            Self::Unchained => f.write_str("does not follow the row before it"),
            Self::Changed => f.write_str("is not what was written"),
            Self::Replaced => {
                f.write_str("does not have the hash that was kept of it: no row before it is vouched for")
            }
            Self::Misfiled => f.write_str("is not filed under what it says, so it may not be found by that"),
            Self::Unreadable(why) => write!(f, "can't be read: {why}"),
        }
    }
}

/// Walks the whole chain, from the first row.
///
/// With a head that was kept elsewhere it's also checked that the trail still holds that row: so nothing up to it can
/// have been written anew, and it can't have been cut off. Of the rows after it, it says nothing: whoever can write the file
/// can append one, with a hash that follows.
///
/// # Errors
/// [`VerifyError::Broken`] at the first row that doesn't hold; [`VerifyError::Store`] when the trail can't be read.
pub fn verify(store: &dyn AuditStore, kept: Option<&Head>) -> Result<Verified, VerifyError> {
    let mut head = Head { seq: 0, hash: Digest([0; 32]) };
    // From before the first row, so that rows with impossible numbers are come upon.
    let mut filter = RowFilter { limit: PAGE_ROWS, ..RowFilter::default() };
    let (mut at, mut set_back) = (Millis(i64::MIN), Vec::new());
    loop {
        let records = match store.rows(&filter) {
            Ok(records) => records,
            // Some row of the page is damaged; one by one, the walk comes to it.
            Err(StoreError::Damaged(_)) if filter.limit > 1 => {
                filter.limit = 1;
                continue;
            }
            Err(StoreError::Damaged(why)) => return Err(broken(head.seq + 1, Fault::Unreadable(why))),
            Err(error) => return Err(error.into()),
        };
        if records.is_empty() {
            break;
        }
        for record in records {
            head = follow(head, &record)?;
            if kept.is_some_and(|kept| kept.seq == head.seq && kept.hash != head.hash) {
                return Err(broken(head.seq, Fault::Replaced));
            }
            if record.at < at {
                set_back.push(record.seq);
            }
            at = record.at;
        }
        filter.from = Some(head.seq + 1);
    }
    if kept.is_some_and(|kept| kept.seq > head.seq) {
        return Err(broken(head.seq + 1, Fault::CutOff));
    }
    if let Some(mut filed) = store.set_back()? {
        // Others may have been written since.
        filed.retain(|seq| *seq <= head.seq);
        let differs = |seq: &&u64| filed.binary_search(seq).is_ok() != set_back.binary_search(seq).is_ok();
        if let Some(seq) = filed.iter().chain(&set_back).filter(differs).min() {
            return Err(broken(*seq, Fault::Misfiled));
        }
    }
    Ok(Verified { head })
}

/// Checks that a record follows the one before it.
fn follow(before: Head, record: &AuditRecord) -> Result<Head, VerifyError> {
    let seq = before.seq + 1;
    if record.seq != seq {
        return Err(broken(seq, Fault::Missing));
    }
    // The hash first: a row with another `prev` than it was written with has been changed, and its neighbours haven't.
    if chain::hash(record) != record.hash {
        return Err(broken(seq, Fault::Changed));
    }
    if record.prev != before.hash {
        return Err(broken(seq, Fault::Unchained));
    }
    let said = filed::said(record).map_err(|why| broken(seq, Fault::Unreadable(why.to_string())))?;
    if said != record.filed {
        return Err(broken(seq, Fault::Misfiled));
    }
    Ok(Head { seq, hash: record.hash })
}

fn broken(seq: u64, fault: Fault) -> VerifyError {
    VerifyError::Broken { seq, fault }
}

impl From<(u64, Digest)> for Head {
    fn from((seq, hash): (u64, Digest)) -> Self {
        Self { seq, hash }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parsed = text.split_once(':').and_then(|(seq, hash)| {
            let (seq, hash) = (seq.parse().ok()?, hash.parse().ok()?);
            Some(Self { seq, hash })
        });
        parsed.ok_or_else(|| InvalidName {
            what: "head",
            value: text.chars().take(80).collect(),
            rule: "it is a row's number, ':' and the row's hash",
        })
    }
}
