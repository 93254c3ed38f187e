//! The certificate authorities of one connection.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;

/// Certificate authorities from a PEM file, checked when the connection was loaded.
#[derive(Clone)]
pub struct CaBundle {
    file: PathBuf,
    roots: Arc<RootCertStore>,
}

impl CaBundle {
    /// The file they came from.
    #[must_use]
    pub fn file(&self) -> &PathBuf {
        &self.file
    }

    /// The authorities, at least one.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaBundle({}, {} authorities)", self.file.display(), self.roots.len())
    }
}
