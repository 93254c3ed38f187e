//! The listener's certificate and key, read again once their files have changed.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::ServeError;
use crate::config::Tls;
use crate::look::{Look, Settled};

/// The certificate that new connections are shown.
pub struct Certificate {
    files: Tls,
    current: ArcSwap<TlsAcceptor>,
    seen: Mutex<Settled>,
}

impl Certificate {
    /// Reads both files and checks that they belong together: before a port is bound.
    pub(super) fn read(files: &Tls) -> Result<Self, ServeError> {
        // Looked at before they're read: what changes in between is read again.
        let seen = Mutex::new(Settled::new(look(files)));
        Ok(Self { current: ArcSwap::from_pointee(acceptor(files)?), files: files.clone(), seen })
    }

    /// What takes connections now.
    pub(super) fn acceptor(&self) -> Arc<TlsAcceptor> {
        self.current.load_full()
    }

    /// Takes a look at the files, and reads them again if they have changed and look as they did the last time. Answers
    /// whether new connections are shown another certificate. After an error it's the one before, and the error isn't told
    /// again until the files have changed once more.
    ///
    /// # Errors
    /// [`ServeError::Tls`].
    pub fn refresh(&self) -> Result<bool, ServeError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.look(look(&self.files), false) {
            return Ok(false);
        }
        self.current.store(Arc::new(acceptor(&self.files)?));
        Ok(true)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

fn look(files: &Tls) -> Look {
    Look::files([&*files.cert_file, &*files.key_file])
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ServeError> {
    let chain = CertificateDer::pem_file_iter(&tls.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&tls.cert_file, "certificate chain", &error))?;
    if chain.is_empty() {
        return Err(unusable(&tls.cert_file, "certificate chain", &"there's no CERTIFICATE section in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|error| unusable(&tls.key_file, "private key", &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(chain, key))
        .map_err(|error| unusable(&tls.key_file, "private key of that certificate", &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn unusable(file: &Path, wanted: &'static str, cause: &dyn std::fmt::Display) -> ServeError {
    ServeError::Tls { file: file.to_owned(), wanted, cause: cause.to_string() }
}
