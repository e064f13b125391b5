//! TLS for clients: the server's keys and certificates, and whom clients' certificates name.
//!
//! Parts: `store` reads keys and certificates from PEM, from Java's key stores (`jks`) and from PKCS #12 (`pkcs12`), with the encryption of
//! the latter (`pbe`); `ec` completes keys; `der` is the encoding of all of them.

mod der;
mod ec;
mod jks;
mod pbe;
mod pkcs12;
mod store;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

use crate::acl::Id;
use crate::config::{ClientAuth, TlsSettings};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file lacks what it should hold, or holds what cannot be read.
    #[error("{what} {}: {problem}", path.display())]
    Content {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Settings(String),
}

const KEY_STORE: &str = "ssl.keyStore.location";
const TRUST_STORE: &str = "ssl.trustStore.location";

/// What the server's side of TLS needs. To renew certificates, call it again and use the new one for new connections.
pub fn server_config(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let store = settings.key_store.as_ref().ok_or_else(|| {
        TlsError::Settings(format!("{KEY_STORE} is not set: TLS needs the server's key and certificates"))
    })?;
    let provider = Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(&settings.cipher_suites)?,
        ..ring::default_provider()
    });
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&protocols(&settings.protocols)?)
        .map_err(|error| TlsError::Settings(format!("ssl.enabledProtocols, ssl.ciphersuites: {error}")))?;
    let builder = match settings.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        auth => builder.with_client_cert_verifier(Arc::new(trusted_clients(settings, auth, provider)?)),
    };
    let store::KeyPair { chain, key } = store::key_pair(store)?;
    let config = builder.with_single_cert(chain, key).map_err(|error| TlsError::Content {
        what: KEY_STORE,
        path: store.location.clone(),
        problem: format!("its key and its first certificate do not go together: {error}"),
    })?;
    Ok(Arc::new(config))
}

/// The identities of a client that has shown these certificates, which the handshake has verified.
pub fn identities(certificates: Option<&[CertificateDer]>, super_user: Option<&str>) -> Vec<Id> {
    let own = certificates.and_then(|certificates| certificates.first());
    own.map_or_else(Vec::new, |own| crate::x509::identities(own, super_user))
}

/// Whether a connection that begins with these bytes speaks TLS; `None`: more bytes will tell.
///
/// A packet of ZooKeeper's that began so would be 350 MiB long.
pub fn is_tls_client_hello(first_bytes: &[u8]) -> Option<bool> {
    const HANDSHAKE: u8 = 22;
    const MAJOR_VERSION: u8 = 3;
    match first_bytes {
        [] | [HANDSHAKE] => None,
        [HANDSHAKE, MAJOR_VERSION, ..] => Some(true),
        _ => Some(false),
    }
}

fn protocols(names: &[String]) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    if names.is_empty() {
        return Ok(rustls::ALL_VERSIONS.to_vec());
    }
    let version = |name: &String| match name.as_str() {
        "TLSv1.2" => Ok(&rustls::version::TLS12),
        "TLSv1.3" => Ok(&rustls::version::TLS13),
        _ => Err(TlsError::Settings(format!(
            "ssl.enabledProtocols: `{name}` is not available; allowed: TLSv1.2, TLSv1.3"
        ))),
    };
    names.iter().map(version).collect()
}

/// The suites with these names, as Java and IANA write them. Names of suites that are not safe or not known are passed over.
fn cipher_suites(names: &[String]) -> Result<Vec<rustls::SupportedCipherSuite>, TlsError> {
    let all = ring::DEFAULT_CIPHER_SUITES;
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let named = |name: &String| all.iter().find(|suite| java_name(suite.suite()) == *name).copied();
    for name in names.iter().filter(|name| named(name).is_none()) {
        tracing::warn!(suite = name, "ssl.ciphersuites names a suite that this server does not have");
    }
    let suites: Vec<_> = names.iter().filter_map(named).collect();
    if suites.is_empty() {
        let names: Vec<String> = all.iter().map(|suite| java_name(suite.suite())).collect();
        return Err(TlsError::Settings(format!(
            "ssl.ciphersuites names none that is available; allowed: {}",
            names.join(", ")
        )));
    }
    Ok(suites)
}

fn java_name(suite: CipherSuite) -> String {
    suite.as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
}

fn trusted_clients(
    settings: &TlsSettings,
    auth: ClientAuth,
    provider: Arc<CryptoProvider>,
) -> Result<TrustedClients, TlsError> {
    let store = settings.trust_store.as_ref().ok_or_else(|| {
        TlsError::Settings(format!(
            "{TRUST_STORE} is not set: clients' certificates are judged by it; ssl.clientAuth=none asks for none"
        ))
    })?;
    let certificates = store::certificates(store)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| TlsError::Content {
            what: TRUST_STORE,
            path: store.location.clone(),
            problem: format!("a certificate cannot be read: {error}"),
        })?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if auth == ClientAuth::Want {
        builder = builder.allow_unauthenticated();
    }
    let chains = builder.build().map_err(|error| TlsError::Settings(format!("{TRUST_STORE}: {error}")))?;
    let themselves = certificates.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(TrustedClients { themselves, chains })
}

/// Clients are trusted whose own certificate is in the trust store, as Java does and as is usual where certificates sign themselves, or
/// who have one that a certificate in the trust store vouches for.
#[derive(Debug)]
struct TrustedClients {
    themselves: HashSet<Vec<u8>>,
    chains: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for TrustedClients {
    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer,
        intermediates: &[CertificateDer],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // What is said about a certificate of the trust store that nobody else has signed. Its dates have been checked then.
        let of_structure = |error: &Error| {
            matches!(
                error,
                Error::InvalidCertificate(CertificateError::Other(_) | CertificateError::UnknownIssuer)
            )
        };
        match self.chains.verify_client_cert(end_entity, intermediates, now) {
            Err(error) if of_structure(&error) && self.themselves.contains(end_entity.as_ref()) => {
                Ok(ClientCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
