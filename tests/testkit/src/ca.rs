//! A throw-away certificate authority. Its private key never leaves the process.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The names of a server on this machine.
pub const LOOPBACK_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// A certificate authority that nobody trusts unless told to.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    /// A new authority with a new key.
    ///
    /// # Panics
    /// If no key can be made, which means that the machine has no randomness.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "Keybearer throw-away CA");
        let key = KeyPair::generate().expect("a key for the CA");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate for the CA") }
    }

    /// The authority's certificate, to be trusted by the client under test.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server with these names (DNS names or IP addresses).
    ///
    /// # Panics
    /// If a name is neither.
    #[must_use]
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).expect("DNS names or IP addresses");
        let key = KeyPair::generate().expect("a key for the leaf");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate for the leaf");
        Leaf { certificate, key }
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

/// A server's certificate and key.
pub struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Leaf {
    /// The certificate.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its private key.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A TLS configuration that presents this certificate and speaks HTTP/1.1.
    ///
    /// # Panics
    /// If rustls refuses the key, which would be a mistake in this file.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("a key that fits the certificate");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}
