//! TLS for clients: the server's keys and certificates, and whom clients' certificates name.
//!
//! Files are PEM. There is no small crate that reads JKS and PKCS12; such files are refused with the command that converts them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CipherSuite, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::acl::Id;
use crate::config::{ClientAuth, Store, StoreKind, TlsSettings};

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
    /// A file is of a format that has to be converted.
    #[error("{what} {} is {format}, which this server does not read; convert it to PEM: {command}", path.display())]
    Format {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its format.
        format: &'static str,
        /// How to convert it.
        command: String,
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
    let pem = read(KEY_STORE, store)?;
    let chain = certificates(KEY_STORE, store, &pem)?;
    let key = private_key(store, &pem)?;
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

fn read(what: &'static str, store: &Store) -> Result<Vec<u8>, TlsError> {
    let path = &store.location;
    let bytes = std::fs::read(path).map_err(|source| TlsError::Read { what, path: path.clone(), source })?;
    let kind = store.kind.unwrap_or_else(|| kind_of(&bytes));
    let keys = if what == TRUST_STORE { "-nokeys" } else { "-nodes" };
    let openssl = |from: &Path| {
        format!("openssl pkcs12 -in {} {keys} -out {}", from.display(), path.with_extension("pem").display())
    };
    let (format, command) = match kind {
        StoreKind::Pem => return Ok(bytes),
        StoreKind::Pkcs12 => ("a PKCS12 file", openssl(path)),
        StoreKind::Jks => {
            let between = path.with_extension("p12");
            let keytool = format!(
                "keytool -importkeystore -srckeystore {} -destkeystore {} -deststoretype PKCS12",
                path.display(),
                between.display()
            );
            ("a Java key store", format!("{keytool} && {}", openssl(&between)))
        }
    };
    Err(TlsError::Format { what, path: path.clone(), format, command })
}

fn kind_of(bytes: &[u8]) -> StoreKind {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => StoreKind::Jks,
        [0x30, ..] => StoreKind::Pkcs12,
        _ => StoreKind::Pem,
    }
}

fn certificates(
    what: &'static str,
    store: &Store,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem| TlsError::Content { what, path: store.location.clone(), problem };
    let certificates: Vec<CertificateDer> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(format!("a certificate cannot be read: {error}")))?;
    match certificates.is_empty() {
        true => Err(wrong("there is no certificate in it (-----BEGIN CERTIFICATE-----)".to_owned())),
        false => Ok(certificates),
    }
}

fn private_key(store: &Store, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = store.location.clone();
    let problem = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => return Ok(key),
        Err(_) if pem.windows(10).any(|window| window == b"ENCRYPTED ") => format!(
            "its private key is encrypted, which this server does not read; protect the file by its permissions and \
             decrypt the key: openssl pkey -in {} -out key.pem",
            path.display()
        ),
        Err(pem::Error::NoItemsFound) => {
            "there is no private key in it (-----BEGIN PRIVATE KEY-----)".to_owned()
        }
        Err(error) => format!("its private key cannot be read: {error}"),
    };
    Err(TlsError::Content { what: KEY_STORE, path, problem })
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
    let certificates = certificates(TRUST_STORE, store, &read(TRUST_STORE, store)?)?;
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
        if self.themselves.contains(end_entity.as_ref()) {
            return Ok(ClientCertVerified::assertion());
        }
        self.chains.verify_client_cert(end_entity, intermediates, now)
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

#[cfg(test)]
mod tests;
