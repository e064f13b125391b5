//! TLS between exchanges: both sides show certificates of the same authority.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use streamkeeper_cluster::network::{NetworkEnvironment, TlsSettings};
use streamkeeper_dataflow::network::FrameKind::Data;

use crate::support::{PATIENCE, RUNTIME, channel, pair, receiver, settings};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

pub(crate) fn files(
    directory: &Path,
    name: &str,
    issuer: &Authority,
    trusted: &Authority,
    host: &str,
) -> TlsSettings {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let file = |kind: &str, text: String| {
        let path = directory.join(format!("{name}.{kind}.pem"));
        std::fs::write(&path, text).expect("written");
        path
    };
    TlsSettings {
        certificates: file("certificate", certificate.pem()),
        key: file("key", key.serialize_pem()),
        authorities: file("authority", trusted.pem()),
    }
}

/// An exchange whose address begins with `host`: one at 127.0.0.1 connects to one at localhost.
fn start(host: &str, connect_timeout: Duration, tls: Option<TlsSettings>) -> NetworkEnvironment {
    let mut settings = settings(0, tls);
    settings.host = host.to_owned();
    settings.connect_timeout = connect_timeout;
    RUNTIME.block_on(NetworkEnvironment::start(&settings)).expect("started")
}

#[test]
fn frames_pass_within_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = authority();
    let [a, b] = ["127.0.0.1", "localhost"]
        .map(|host| start(host, PATIENCE, Some(files(directory.path(), host, &ours, &ours, host))));
    let (mut to_b, mut at_b) = pair(&a, &b, channel(1, 0), 1 << 16);
    let (mut to_a, mut at_a) = pair(&b, &a, channel(1, 1), 1 << 16);
    let large: Vec<u8> = (0..1_000_000u32).map(|n| (n >> 4) as u8).collect();
    for _ in 0..5 {
        to_b.data(&large);
        at_b.expect(Data, &large);
        to_a.data(b"small");
        at_a.expect(Data, b"small");
    }
}

#[test]
fn who_has_no_certificate_of_the_same_authority_is_refused_whoever_connects() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (authority(), authority());
    for (own, other) in [("127.0.0.1", "localhost"), ("localhost", "127.0.0.1")] {
        let tls = |name, issuer, trusted, host| Some(files(directory.path(), name, issuer, trusted, host));
        let mut strangers = vec![
            ("without TLS", None),
            ("of another authority", tls("c", &theirs, &ours, other)),
            ("that trusts another authority", tls("d", &ours, &theirs, other)),
        ];
        if own == "127.0.0.1" {
            strangers.push(("with another name", tls("e", &ours, &ours, "elsewhere.example")));
        }
        for (who, stranger) in strangers {
            let timeout = Duration::from_millis(500);
            let a = start(own, timeout, tls("a", &ours, &ours, own));
            let stranger = start(other, timeout, stranger);
            let (_to_a, mut at_a) = pair(&stranger, &a, channel(1, 2), 1 << 16);
            let mut there = receiver(&stranger, a.address(), channel(1, 3), 1 << 16);
            for end in [&mut at_a, &mut there] {
                let Err(error) = end.try_receive() else { panic!("a process {who} was let in") };
                assert!(error.is_recoverable(), "{error}");
            }
        }
    }
}

#[test]
fn files_that_are_not_right_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = authority();
    let right = files(directory.path(), "a", &ours, &ours, "127.0.0.1");
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").expect("written");
    for tls in [
        TlsSettings { certificates: empty.clone(), ..right.clone() },
        TlsSettings { key: empty.clone(), ..right.clone() },
        TlsSettings { authorities: empty.clone(), ..right.clone() },
    ] {
        let error =
            RUNTIME.block_on(NetworkEnvironment::start(&settings(0, Some(tls)))).err().expect("refused");
        assert!(error.to_string().contains("empty.pem"), "{error}");
    }
    let missing = TlsSettings { key: directory.path().join("nowhere.pem"), ..right };
    let error =
        RUNTIME.block_on(NetworkEnvironment::start(&settings(0, Some(missing)))).err().expect("refused");
    assert!(error.to_string().contains("nowhere.pem"), "{error}");
}
