//! Keys of elliptic curves as Java keeps them: without the public half, which ring wants to see next to the private one.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::der::{Der, dotted, tag};

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
/// The tag of the public half in RFC 5915's `ECPrivateKey`.
const PUBLIC_HALF: u8 = 0xa1;

/// The key with the public half that stands in its certificate; the key as it is if it has one, or is of another kind.
pub(super) fn completed(
    key: PrivateKeyDer<'static>,
    certificate: Option<&CertificateDer>,
) -> PrivateKeyDer<'static> {
    let completed = match (&key, certificate) {
        (PrivateKeyDer::Pkcs8(key), Some(certificate)) => complete(key.secret_pkcs8_der(), certificate),
        _ => None,
    };
    completed.map_or(key, |completed| PrivateKeyDer::Pkcs8(completed.into()))
}

fn complete(key: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Der(key).sequence()?;
    let version = fields.expect(tag::INTEGER)?;
    let algorithm = fields.expect(tag::SEQUENCE)?;
    if dotted(algorithm.inside().expect(tag::OID)?.content)? != EC_PUBLIC_KEY {
        return None;
    }
    let mut own = fields.expect(tag::OCTET_STRING)?.inside().sequence()?;
    let own_version = own.expect(tag::INTEGER)?;
    let secret = own.expect(tag::OCTET_STRING)?;
    own.optional(tag::CONTEXT_0);
    if own.optional(PUBLIC_HALF).is_some() {
        return None;
    }
    let public = encoded(PUBLIC_HALF, &[super::der::names_of(certificate)?.public_key])?;
    let own = encoded(tag::SEQUENCE, &[own_version.whole, secret.whole, &public])?;
    let own = encoded(tag::OCTET_STRING, &[&own])?;
    encoded(tag::SEQUENCE, &[version.whole, algorithm.whole, &own])
}

/// A value of these parts.
fn encoded(tag: u8, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).ok()?.to_be_bytes();
    let header = match length {
        [0, short @ 0..=0x7f] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        [high, low] => vec![tag, 0x82, high, low],
    };
    Some([header, content].concat())
}
