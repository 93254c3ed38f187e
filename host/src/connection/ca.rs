//! The certificate authorities of one connection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Certificate authorities from a PEM file, checked when the connection was loaded.
#[derive(Clone)]
pub struct CaBundle {
    file: PathBuf,
    roots: Arc<RootCertStore>,
}

impl CaBundle {
    /// Reads a PEM file of certificates.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let pem =
            std::fs::read(file).map_err(|error| format!("{} can't be read: {error}", file.display()))?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
            certificate
                .map_err(|error| error.to_string())
                .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
                .map_err(|error| {
                    format!("certificate {} of {} isn't usable: {error}", index + 1, file.display())
                })?;
        }
        if roots.is_empty() {
            return Err(format!("{} holds no certificate in PEM form", file.display()));
        }
        Ok(Self { file: file.to_path_buf(), roots: Arc::new(roots) })
    }

    /// The file they came from.
    #[must_use]
    pub fn file(&self) -> &Path {
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
