//! Java's own key stores. The format is that of OpenJDK's `sun.security.provider.JavaKeyStore` and `KeyProtector`.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha1::{Digest, Sha1};

use super::der::{Der, dotted, tag};
use super::store::Contents;

const DAMAGED: &str = "the key store ends too early or is damaged";
const WRONG_PASSWORD: &str = "the password is wrong, or the key store is damaged";
/// What Java mixes into the check sum.
const WHITENER: &[u8] = b"Mighty Aphrodite";
const CHECK_BYTES: usize = 20;

/// Reads a store.
pub(super) fn read(bytes: &[u8], password: &str) -> Result<Contents, String> {
    let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (body, check) = bytes.len().checked_sub(CHECK_BYTES).map(|at| bytes.split_at(at)).ok_or(DAMAGED)?;
    // Java reads a trust store without a password as well, unchecked.
    if !password.is_empty() {
        let sum = Sha1::new().chain_update(&password).chain_update(WHITENER).chain_update(body).finalize();
        if sum[..] != *check {
            return Err(WRONG_PASSWORD.to_owned());
        }
    }
    Fields(body).store(&password).ok_or(DAMAGED)?
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.int()?;
        self.take(length.try_into().ok()?)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.take(2)?.try_into().ok().map(u16::from_be_bytes)?;
        self.take(length.into())
    }

    fn certificate(&mut self, version: u32) -> Option<CertificateDer<'static>> {
        if version == 2 {
            self.text()?;
        }
        Some(CertificateDer::from(self.block()?.to_vec()))
    }

    /// None if the fields do not make a store.
    fn store(mut self, password: &[u8]) -> Option<Result<Contents, String>> {
        let (_magic, version, entries) = (self.int()?, self.int()?, self.int()?);
        let mut contents = Contents::default();
        for _ in 0..entries {
            let kind = self.int()?;
            let (_alias, _date) = (self.text()?, self.take(8)?);
            match kind {
                1 => {
                    let key = unprotect(self.block()?, password);
                    let certificates = self.int()?;
                    let chain: Option<Vec<_>> =
                        (0..certificates).map(|_| self.certificate(version)).collect();
                    match key {
                        Ok(key) => contents.keys.push((PrivateKeyDer::Pkcs8(key.into()), chain?)),
                        Err(problem) => return Some(Err(problem)),
                    }
                }
                2 => contents.certificates.push(self.certificate(version)?),
                _ => return None,
            }
        }
        Some(Ok(contents))
    }
}

/// Decrypts a key: the salt, the key under a stream of chained hashes, and a check sum.
fn unprotect(protected: &[u8], password: &[u8]) -> Result<Vec<u8>, String> {
    let mut info = Der(protected).sequence().ok_or(DAMAGED)?;
    let algorithm = info.sequence().and_then(|mut algorithm| algorithm.expect(tag::OID)).ok_or(DAMAGED)?;
    if dotted(algorithm.content).as_deref() != Some("1.3.6.1.4.1.42.2.17.1.1") {
        return Err("the key is protected in another way than JKS does; convert the store with: keytool -importkeystore -srckeystore <old> \
                    -destkeystore <new> -deststoretype PKCS12"
            .to_owned());
    }
    let data = info.expect(tag::OCTET_STRING).ok_or(DAMAGED)?.content;
    let (salt, rest) = data.split_at_checked(CHECK_BYTES).ok_or(DAMAGED)?;
    let (encrypted, check) =
        rest.len().checked_sub(CHECK_BYTES).map(|at| rest.split_at(at)).ok_or(DAMAGED)?;
    let mut block = salt.to_vec();
    let mut key = Vec::with_capacity(encrypted.len());
    for chunk in encrypted.chunks(CHECK_BYTES) {
        block = Sha1::new().chain_update(password).chain_update(&block).finalize().to_vec();
        key.extend(chunk.iter().zip(&block).map(|(byte, mask)| byte ^ mask));
    }
    let sum = Sha1::new().chain_update(password).chain_update(&key).finalize();
    match sum[..] == *check {
        true => Ok(key),
        false => {
            Err("the key has another password than the store; give both the same with: keytool -keypasswd"
                .to_owned())
        }
    }
}
