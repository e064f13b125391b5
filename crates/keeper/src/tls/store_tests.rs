//! Key stores that keytool and OpenSSL have written (`tests/data/tls/make.sh`).

use std::path::Path;

use rustls::pki_types::CertificateDer;

use super::store::{certificates, key_pair};
use super::*;
use crate::config::{Secret, Store};

const KEYS: [&str; 6] =
    ["key.jks", "key.p12", "key-legacy.p12", "key-openssl.p12", "key.pem", "key-encrypted.pem"];

fn fixture(name: &str, password: &str) -> Store {
    let location = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name);
    Store { location, kind: None, password: Some(Secret(password.to_owned())), password_path: None }
}

fn file(directory: &Path, name: &str, bytes: &[u8], password: &str) -> Store {
    let location = directory.join(name);
    std::fs::write(&location, bytes).unwrap();
    Store { location, ..fixture(name, password) }
}

fn trusted(name: &str, password: &str) -> Vec<CertificateDer<'static>> {
    certificates(&fixture(name, password)).unwrap()
}

#[test]
fn stores_of_java_and_openssl_are_read() {
    let server = trusted("trust.jks", "secret");
    assert_eq!(server.len(), 1);
    assert_eq!(crate::x509::subject_name(&server[0]).as_deref(), Some("CN=server,O=Example\\, Inc."));
    for name in ["trust.p12"].into_iter().chain(KEYS) {
        assert_eq!(trusted(name, "secret"), server, "{name}");
    }
    // Without a password Java reads certificates, unchecked.
    assert_eq!(trusted("trust.jks", ""), server);
    let key = key_pair(&fixture("key.pem", "")).unwrap().key;
    for name in KEYS {
        let pair = key_pair(&fixture(name, "secret")).unwrap();
        assert_eq!((&pair.key, &pair.chain), (&key, &server), "{name}");
    }
}

/// The key and the certificate of each store go together, those of elliptic curves as well, which Java keeps without the public half.
#[test]
fn servers_are_set_up_with_them() {
    for name in KEYS.into_iter().chain(["ec.p12"]) {
        let settings = TlsSettings {
            key_store: Some(fixture(name, "secret")),
            trust_store: Some(fixture("trust.p12", "secret")),
            cipher_suites: vec![],
            protocols: vec![],
            client_auth: ClientAuth::Need,
        };
        assert!(server_config(&settings).is_ok(), "{name}");
    }
}

#[test]
fn passwords_come_from_files_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, "secret\n").unwrap();
    let store = Store { password_path: Some(path), ..fixture("key.p12", "wrong") };
    assert!(key_pair(&store).is_ok());
}

#[test]
fn what_is_wrong_with_a_store_is_said() {
    for name in KEYS.into_iter().filter(|name| *name != "key.pem") {
        let error = key_pair(&fixture(name, "wrong")).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("password is wrong"), "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    for (text, problem) in [
        ("", "neither a PEM section"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no private key"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "no certificate in it for its private key",
        ),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "malformed PEM"),
        ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "openssl pkcs8 -topk8"),
    ] {
        let error =
            key_pair(&file(directory.path(), "key.pem", text.as_bytes(), "")).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
    let gone = key_pair(&fixture("gone.jks", "")).unwrap_err().to_string();
    assert!(gone.starts_with("cannot read ssl.keyStore.location"), "{gone}");
}

/// Truncated and altered stores are refused; none panics.
#[test]
fn damaged_stores_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["key.jks", "trust.jks", "key-legacy.p12"] {
        let bytes = std::fs::read(fixture(name, "").location).unwrap();
        for at in (0..bytes.len()).step_by(101) {
            let mut altered = bytes.clone();
            altered[at] ^= 0x41;
            for (damaged, password) in
                [(&bytes[..at], "secret"), (&bytes[..at], ""), (&altered[..], "secret")]
            {
                let store = file(directory.path(), "damaged", damaged, password);
                assert!(certificates(&store).is_err(), "{name} {at}");
            }
        }
    }
}
