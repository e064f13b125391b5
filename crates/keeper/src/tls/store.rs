//! Keys and certificates from files: PEM, Java key stores, PKCS #12.

use std::path::Path;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::der::Der;
use super::{KEY_STORE, TRUST_STORE, TlsError, ec, jks, pbe, pkcs12};
use crate::config::{Store, StoreKind};

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct KeyPair {
    /// The certificate, and those that signed it.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub(super) key: PrivateKeyDer<'static>,
}

/// What a store holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Keys in PKCS #8 or their traditional formats, each with its certificates.
    pub(super) keys: Vec<(PrivateKeyDer<'static>, Vec<CertificateDer<'static>>)>,
    /// Certificates without a key.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// The key of a store with its certificates; the first, if there are several.
pub(super) fn key_pair(store: &Store) -> Result<KeyPair, TlsError> {
    let wrong = |problem: &str| content(KEY_STORE, store, problem);
    let first = read(KEY_STORE, store)?.keys.into_iter().next();
    let (key, chain) = first.ok_or_else(|| wrong("there is no private key in it"))?;
    match chain.is_empty() {
        true => Err(wrong("there is no certificate in it for its private key")),
        false => Ok(KeyPair { key: ec::completed(key, chain.first()), chain }),
    }
}

/// The certificates of a store of whom to trust.
pub(super) fn certificates(store: &Store) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let contents = read(TRUST_STORE, store)?;
    let mut certificates = contents.certificates;
    // Java trusts the certificates of keys as well.
    certificates.extend(contents.keys.into_iter().flat_map(|(_, chain)| chain));
    match certificates.is_empty() {
        true => Err(content(TRUST_STORE, store, "there is no certificate in it")),
        false => Ok(certificates),
    }
}

fn content(what: &'static str, store: &Store, problem: &str) -> TlsError {
    TlsError::Content { what, path: store.location.clone(), problem: problem.to_owned() }
}

fn read(what: &'static str, store: &Store) -> Result<Contents, TlsError> {
    let open = |path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::Read { what, path: path.to_owned(), source })
    };
    let bytes = open(&store.location)?;
    let password = match &store.password_path {
        None => store.password.clone().unwrap_or_default().0,
        Some(path) => String::from_utf8_lossy(&open(path)?).lines().next().unwrap_or_default().to_owned(),
    };
    let contents = match kind_of(&bytes, store.kind) {
        StoreKind::Pem => pem(&bytes, &password),
        StoreKind::Jks => jks::read(&bytes, &password),
        StoreKind::Pkcs12 => pkcs12::read(&bytes, &password),
    };
    contents.map_err(|problem| content(what, store, &problem))
}

/// The format, by the first bytes: files named `.jks` that newer versions of Java wrote are PKCS #12.
fn kind_of(bytes: &[u8], wanted: Option<StoreKind>) -> StoreKind {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => StoreKind::Jks,
        [0x30, ..] => StoreKind::Pkcs12,
        _ => wanted.unwrap_or(StoreKind::Pem),
    }
}

const OLD_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";

fn pem(bytes: &[u8], password: &str) -> Result<Contents, String> {
    if bytes.windows(OLD_ENCRYPTION.len()).any(|window| window == OLD_ENCRYPTION) {
        return Err("the key is encrypted in OpenSSL's old format; convert it with: \
                    openssl pkcs8 -topk8 -in <old> -out <new>"
            .to_owned());
    }
    let (mut keys, mut certificates) = (Vec::new(), Vec::new());
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = section.map_err(|error| format!("malformed PEM: {error}"))?;
        match kind {
            SectionKind::Certificate => certificates.push(CertificateDer::from(der)),
            SectionKind::PrivateKey => keys.push(PrivateKeyDer::Pkcs8(der.into())),
            SectionKind::RsaPrivateKey => keys.push(PrivateKeyDer::Pkcs1(der.into())),
            SectionKind::EcPrivateKey => keys.push(PrivateKeyDer::Sec1(der.into())),
            _ => {}
        }
    }
    // The parser above passes over sections of other kinds.
    if keys.is_empty() {
        keys.extend(encrypted_key(bytes, password)?);
    }
    if keys.is_empty() && certificates.is_empty() {
        return Err("neither a PEM section CERTIFICATE nor one with a PRIVATE KEY is in it".to_owned());
    }
    Ok(match keys.into_iter().next() {
        Some(key) => Contents { keys: vec![(key, certificates)], certificates: Vec::new() },
        None => Contents { keys: Vec::new(), certificates },
    })
}

/// The key of a section `ENCRYPTED PRIVATE KEY` (PKCS #8).
fn encrypted_key(bytes: &[u8], password: &str) -> Result<Option<PrivateKeyDer<'static>>, String> {
    const LABEL: &str = "ENCRYPTED PRIVATE KEY-----";
    let text = String::from_utf8_lossy(bytes);
    if !text.contains(LABEL) {
        return Ok(None);
    }
    let plain = text.replace(LABEL, "PRIVATE KEY-----");
    let key = PrivatePkcs8KeyDer::from_pem_slice(plain.as_bytes())
        .map_err(|error| format!("malformed PEM: {error}"))?;
    let key = pbe::decrypt_key(Der(key.secret_pkcs8_der()), password)?;
    Ok(Some(PrivateKeyDer::Pkcs8(key.into())))
}
