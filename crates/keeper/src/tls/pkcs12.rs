//! PKCS #12 files (RFC 7292), as Java and OpenSSL write them.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::der::{Der, dotted, tag};
use super::pbe;
use super::store::Contents;

const DAMAGED: &str = "the file is not PKCS #12, or is damaged";

/// A key or certificate with the identifier that ties the two together.
type Identified = (Option<Vec<u8>>, Vec<u8>);

#[derive(Default)]
struct Bags {
    keys: Vec<Identified>,
    certificates: Vec<Identified>,
}

/// Reads a file.
pub(super) fn read(bytes: &[u8], password: &str) -> Result<Contents, String> {
    let mut file = Der(bytes).sequence().ok_or(DAMAGED)?;
    file.number().ok_or(DAMAGED)?;
    let content = data(file.sequence().ok_or(DAMAGED)?).ok_or(DAMAGED)?;
    // A file without a check sum is one without a password.
    if let Some(mac) = file.sequence() {
        pbe::verify(mac, password, content)?;
    }
    let mut bags = Bags::default();
    let mut safes = Der(content).sequence().ok_or(DAMAGED)?;
    while !safes.is_empty() {
        let safe = safes.sequence().ok_or(DAMAGED)?;
        match data(safe) {
            Some(plain) => bags.read(plain, password)?,
            None => bags.read(&encrypted(safe, password)?, password)?,
        }
    }
    Ok(bags.contents())
}

/// What is in a `ContentInfo` of the type data.
fn data(mut info: Der<'_>) -> Option<&[u8]> {
    let kind = dotted(info.expect(tag::OID)?.content)?;
    let content = info.expect(tag::CONTEXT_0)?.inside().expect(tag::OCTET_STRING)?;
    (kind == "1.2.840.113549.1.7.1").then_some(content.content)
}

/// What is in a `ContentInfo` of the type encrypted data.
fn encrypted(mut info: Der, password: &str) -> Result<Vec<u8>, String> {
    let kind = info.expect(tag::OID).and_then(|oid| dotted(oid.content)).ok_or(DAMAGED)?;
    if kind != "1.2.840.113549.1.7.6" {
        return Err(format!(
            "a part of the type {kind} is not known here; write the file anew with keytool or openssl"
        ));
    }
    let mut parts = || {
        let mut content = info.expect(tag::CONTEXT_0)?.inside().sequence()?;
        content.number()?;
        let mut parts = content.sequence()?;
        parts.expect(tag::OID)?;
        let algorithm = parts.sequence()?;
        let data = parts.value()?;
        // The octets, whole (0x80) or in pieces (0xa0).
        match data.tag {
            0x80 => Some((algorithm, data.content.to_vec())),
            tag::CONTEXT_0 => {
                let (mut pieces, mut whole) = (data.inside(), Vec::new());
                while !pieces.is_empty() {
                    whole.extend_from_slice(pieces.expect(tag::OCTET_STRING)?.content);
                }
                Some((algorithm, whole))
            }
            _ => None,
        }
    };
    let (algorithm, data) = parts().ok_or(DAMAGED)?;
    pbe::decrypt(algorithm, password, &data)
}

impl Bags {
    fn read(&mut self, bytes: &[u8], password: &str) -> Result<(), String> {
        let mut bags = Der(bytes).sequence().ok_or(DAMAGED)?;
        while !bags.is_empty() {
            let mut bag = bags.sequence().ok_or(DAMAGED)?;
            let kind = bag.expect(tag::OID).and_then(|oid| dotted(oid.content)).ok_or(DAMAGED)?;
            let mut value = bag.expect(tag::CONTEXT_0).ok_or(DAMAGED)?.inside();
            let id = bag.expect(tag::SET).and_then(|attributes| key_id(attributes.inside()));
            match &*kind {
                "1.2.840.113549.1.12.10.1.1" => {
                    self.keys.push((id, value.value().ok_or(DAMAGED)?.whole.to_vec()))
                }
                "1.2.840.113549.1.12.10.1.2" => self.keys.push((id, pbe::decrypt_key(value, password)?)),
                "1.2.840.113549.1.12.10.1.3" => {
                    self.certificates.push((id, certificate(value).ok_or(DAMAGED)?))
                }
                // Revocation lists and secrets.
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives each key its certificate and those that signed it; the rest is trusted.
    fn contents(self) -> Contents {
        let Bags { keys, mut certificates } = self;
        let mut contents = Contents::default();
        for (id, key) in keys {
            let own = certificates.iter().position(|(other, _)| id.is_some() && *other == id);
            let mut next = own.or((!certificates.is_empty()).then_some(0));
            let mut chain: Vec<CertificateDer<'static>> = Vec::new();
            while let Some(at) = next {
                let (_, certificate) = certificates.remove(at);
                let issuer = super::der::names_of(&certificate).map(|names| names.issuer.to_vec());
                chain.push(certificate.into());
                next = certificates.iter().position(|(_, other)| {
                    issuer.as_deref().is_some_and(|issuer| {
                        super::der::names_of(other).is_some_and(|names| names.subject == issuer)
                    })
                });
            }
            contents.keys.push((PrivateKeyDer::Pkcs8(key.into()), chain));
        }
        contents.certificates = certificates.into_iter().map(|(_, certificate)| certificate.into()).collect();
        contents
    }
}

/// The attribute `localKeyId`.
fn key_id(mut attributes: Der) -> Option<Vec<u8>> {
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence()?;
        let kind = dotted(attribute.expect(tag::OID)?.content)?;
        if kind == "1.2.840.113549.1.9.21" {
            let value = attribute.expect(tag::SET)?.inside().expect(tag::OCTET_STRING)?;
            return Some(value.content.to_vec());
        }
    }
    None
}

fn certificate(mut value: Der) -> Option<Vec<u8>> {
    let mut bag = value.sequence()?;
    let kind = dotted(bag.expect(tag::OID)?.content)?;
    let certificate = bag.expect(tag::CONTEXT_0)?.inside().expect(tag::OCTET_STRING)?;
    (kind == "1.2.840.113549.1.9.22.1").then(|| certificate.content.to_vec())
}
