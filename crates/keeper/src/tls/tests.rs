use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConnection};

use super::*;
use crate::config::Store;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key.
struct Own {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "DE");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> Issuer {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn own(name: &str, names: &[&str], issuer: Option<&Issuer>) -> Own {
    let key = KeyPair::generate().unwrap();
    let params = params(name, names);
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Own {
        certificate: certificate.der().clone(),
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    }
}

struct World {
    dir: tempfile::TempDir,
    authority: Issuer,
    settings: TlsSettings,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let authority = authority("authority");
        let server = own("server", &["localhost"], Some(&authority));
        let mut world = World {
            settings: TlsSettings {
                key_store: None,
                trust_store: None,
                cipher_suites: vec![],
                protocols: vec![],
                client_auth: ClientAuth::Need,
            },
            dir,
            authority,
        };
        world.settings.key_store =
            Some(world.file("key.pem", (server.key_pem + &server.certificate_pem).as_bytes()));
        world.settings.trust_store = Some(world.file("trust.pem", world.authority.pem().as_bytes()));
        world
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Store {
        let location = self.dir.path().join(name);
        std::fs::write(&location, bytes).unwrap();
        Store { location, kind: None, password: None, password_path: None }
    }

    /// Shakes hands in memory, with a client that has this certificate. The server's connection, or its error.
    fn connect(&self, client: Option<&Own>) -> Result<ServerConnection, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![own.certificate.clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(server_config(&self.settings).unwrap()).unwrap();
        while server.is_handshaking() || client.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets()?;
            }
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(server)
    }

    fn error(&self) -> String {
        server_config(&self.settings).unwrap_err().to_string()
    }
}

#[test]
fn a_clients_certificate_is_its_identity() {
    let world = World::new();
    let client = own("client", &[], Some(&world.authority));
    let server = world.connect(Some(&client)).unwrap();
    let certificates = server.peer_certificates();
    assert_eq!(identities(certificates, None), [Id::new("x509", "CN=client,C=DE")]);
    assert_eq!(identities(certificates, Some("CN=other")), [Id::new("x509", "CN=client,C=DE")]);
    assert_eq!(
        identities(certificates, Some("CN=client,C=DE")),
        [Id::new("super", "CN=client,C=DE"), Id::new("x509", "CN=client,C=DE")]
    );
    assert_eq!(identities(None, None), []);
}

#[test]
fn who_must_show_a_certificate_and_whose_counts() {
    let mut world = World::new();
    let known = own("known", &[], Some(&world.authority));
    let alien = own("alien", &[], Some(&authority("elsewhere")));
    let alone = own("alone", &[], None);
    for (auth, nobody, known_is_shown) in
        [(ClientAuth::Need, false, true), (ClientAuth::Want, true, true), (ClientAuth::None, true, false)]
    {
        world.settings.client_auth = auth;
        assert_eq!(world.connect(None).is_ok(), nobody, "{auth:?}");
        let server = world.connect(Some(&known)).unwrap();
        assert_eq!(server.peer_certificates().is_some(), known_is_shown, "{auth:?}");
        let stranger = auth == ClientAuth::None;
        assert_eq!(world.connect(Some(&alien)).is_ok(), stranger, "{auth:?}");
        assert_eq!(world.connect(Some(&alone)).is_ok(), stranger, "{auth:?}");
    }
    // A certificate that signs itself counts when it is in the trust store itself.
    world.settings.client_auth = ClientAuth::Need;
    world.settings.trust_store = Some(world.file("alone.pem", alone.certificate_pem.as_bytes()));
    let server = world.connect(Some(&alone)).unwrap();
    assert_eq!(identities(server.peer_certificates(), None), [Id::new("x509", "CN=alone,C=DE")]);
    assert!(world.connect(Some(&known)).is_err());
    // Also when it says of itself that it is an authority, as those of `openssl req -x509` do; but not when its time is over.
    for (year, accepted) in [(4000, true), (2001, false)] {
        let mut params = params("alone", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let alone = Own {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        };
        world.settings.trust_store = Some(world.file("authority.pem", alone.certificate_pem.as_bytes()));
        assert_eq!(world.connect(Some(&alone)).is_ok(), accepted, "{year}");
    }
}

#[test]
fn versions_and_suites_are_chosen_by_javas_names() {
    let mut world = World::new();
    world.settings.client_auth = ClientAuth::None;
    world.settings.protocols = vec!["TLSv1.2".to_owned()];
    world.settings.cipher_suites =
        vec!["TLS_RSA_WITH_AES_128_CBC_SHA".to_owned(), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()];
    let server = world.connect(None).unwrap();
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    let suite = server.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(java_name(suite), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    world.settings.protocols = vec!["TLSv1.3".to_owned()];
    world.settings.cipher_suites = vec!["TLS_AES_256_GCM_SHA384".to_owned()];
    let server = world.connect(None).unwrap();
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    world.settings.protocols = vec!["TLSv1.1".to_owned()];
    assert_eq!(world.error(), "ssl.enabledProtocols: `TLSv1.1` is not available; allowed: TLSv1.2, TLSv1.3");
    world.settings.cipher_suites = vec!["TLS_RSA_WITH_AES_128_CBC_SHA".to_owned()];
    assert!(world.error().starts_with("ssl.ciphersuites names none that is available; allowed: TLS_AES_"));
}

#[test]
fn files_that_do_not_do_are_refused_in_words() {
    let mut world = World::new();
    world.settings.key_store = Some(world.file("server.jks", b"\xfe\xed\xfe\xed\0\0\0\x02"));
    assert!(
        world.error().ends_with("server.jks: the key store ends too early or is damaged"),
        "{}",
        world.error()
    );
    world.settings.key_store = Some(world.file("key.pem", b"-----BEGIN CERTIFICATE-----\n"));
    assert!(world.error().contains("malformed PEM"), "{}", world.error());
    let server = own("server", &["localhost"], Some(&world.authority));
    world.settings.key_store = Some(world.file("key.pem", server.certificate_pem.as_bytes()));
    assert!(world.error().ends_with("there is no private key in it"));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    world.settings.key_store =
        Some(world.file("key.pem", (encrypted.to_owned() + &server.certificate_pem).as_bytes()));
    assert!(world.error().ends_with("an encrypted part is damaged"), "{}", world.error());
    let other = own("other", &[], None);
    world.settings.key_store =
        Some(world.file("key.pem", (other.key_pem + &server.certificate_pem).as_bytes()));
    assert!(world.error().contains("do not go together"), "{}", world.error());
    world.settings.key_store =
        Some(world.file("key.pem", (server.key_pem + &server.certificate_pem).as_bytes()));
    world.settings.trust_store = Some(world.file("trust.p12", b"\x30\x82"));
    assert!(world.error().ends_with("the file is not PKCS #12, or is damaged"), "{}", world.error());
    world.settings.trust_store = None;
    assert!(world.error().starts_with("ssl.trustStore.location is not set"));
    world.settings.key_store = None;
    assert!(world.error().starts_with("ssl.keyStore.location is not set"));
}

#[test]
fn tls_is_told_from_zookeepers_packets_by_its_first_bytes() {
    for (bytes, tls) in [
        (&b""[..], None),
        (b"\x16", None),
        (b"\x16\x03\x01", Some(true)),
        (b"\0", Some(false)),
        (b"\0\0\0\x2d", Some(false)),
        (b"ruok", Some(false)),
        (b"\x16\0", Some(false)),
    ] {
        assert_eq!(is_tls_client_hello(bytes), tls);
    }
}
