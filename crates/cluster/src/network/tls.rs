//! TLS between the processes of a cluster: both sides show certificates that the same authority has signed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::handshake::wrong;
use crate::error::Error;

/// Files in PEM.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// This process's certificate, which names the host of its address, and what leads from it to an authority.
    pub certificates: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// The authorities whose certificates others may show.
    pub authorities: PathBuf,
}

/// Both sides of TLS, ready for use.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
}

impl Tls {
    pub(super) fn new(settings: &TlsSettings) -> Result<Self, Error> {
        let (client, server) = configs(settings)?;
        Ok(Self { acceptor: server.into(), connector: client.into() })
    }
}

/// What both sides of TLS are made of.
///
/// # Errors
/// When a file cannot be read, or does not hold what it should.
pub(crate) fn configs(settings: &TlsSettings) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Error> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates("authorities", &settings.authorities)? {
        roots.add(authority)?;
    }
    let roots = Arc::new(roots);
    let chain = certificates("certificates", &settings.certificates)?;
    let key = || {
        PrivateKeyDer::from_pem_file(&settings.key).map_err(|e| problem("key", &settings.key, &e.to_string()))
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|e| problem("authorities", &settings.authorities, &e.to_string()))?;
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key()?)?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key()?)?;
    Ok((Arc::new(client), Arc::new(server)))
}

/// The name that the certificate of the process at `address` has to have.
pub(crate) fn server_name(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| wrong(format!("`{host}` cannot be in a certificate")))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match all {
        Ok(all) if all.is_empty() => Err(problem(what, path, "it holds no certificate in PEM")),
        Ok(all) => Ok(all),
        Err(e) => Err(problem(what, path, &e.to_string())),
    }
}

fn problem(what: &'static str, path: &Path, problem: &str) -> Error {
    Error::Tls { what, path: path.to_owned(), problem: problem.to_owned() }
}
