//! Encryption by password: PKCS #5's PBES2 (RFC 8018) and PKCS #12's own (RFC 7292, appendix B and C), as Java and OpenSSL use them.

use std::num::NonZeroU32;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, KeyInit, KeyIvInit};
use ring::{hmac, pbkdf2};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};

use super::der::{Der, dotted, tag};

const DAMAGED: &str = "an encrypted part is damaged";
const WRONG_PASSWORD: &str = "the password is wrong, or the file is damaged";
/// More rounds than this are taken for damage, rather than computed for minutes.
const MOST_ROUNDS: u32 = 10_000_000;

/// Decrypts a key in PKCS #8 (`EncryptedPrivateKeyInfo`).
pub(super) fn decrypt_key(mut der: Der, password: &str) -> Result<Vec<u8>, String> {
    let mut info = der.sequence().ok_or(DAMAGED)?;
    let algorithm = info.sequence().ok_or(DAMAGED)?;
    let data = info.expect(tag::OCTET_STRING).ok_or(DAMAGED)?;
    decrypt(algorithm, password, data.content)
}

/// Decrypts `data` as `algorithm` (the inside of an `AlgorithmIdentifier`) says.
pub(super) fn decrypt(mut algorithm: Der, password: &str, data: &[u8]) -> Result<Vec<u8>, String> {
    let oid = oid(&mut algorithm).ok_or(DAMAGED)?;
    let parameters = algorithm.sequence().ok_or(DAMAGED)?;
    match &*oid {
        "1.2.840.113549.1.5.13" => pbes2(parameters, password, data),
        "1.2.840.113549.1.12.1.3" => {
            let (key, iv) = pkcs12_key(parameters, password, 24)?;
            cbc::<des::TdesEde3>(&key, &iv, data)
        }
        "1.2.840.113549.1.12.1.5" => pkcs12_rc2(parameters, password, 16, data),
        "1.2.840.113549.1.12.1.6" => pkcs12_rc2(parameters, password, 5, data),
        _ => Err(format!(
            "its encryption {oid} is not known here; convert it with: openssl pkcs12 -in <old> -out <new>.pem -nodes, and use the PEM file"
        )),
    }
}

fn oid(der: &mut Der) -> Option<String> {
    dotted(der.expect(tag::OID)?.content)
}

fn rounds(der: &mut Der) -> Option<NonZeroU32> {
    der.number().filter(|rounds| *rounds <= MOST_ROUNDS).and_then(NonZeroU32::new)
}

fn pbes2(mut parameters: Der, password: &str, data: &[u8]) -> Result<Vec<u8>, String> {
    let mut derivation = parameters.sequence().ok_or(DAMAGED)?;
    let mut cipher = parameters.sequence().ok_or(DAMAGED)?;
    let function = oid(&mut derivation).ok_or(DAMAGED)?;
    if function != "1.2.840.113549.1.5.12" {
        return Err(format!("its key derivation {function} is not known here; PBKDF2 is"));
    }
    let mut derivation = derivation.sequence().ok_or(DAMAGED)?;
    let salt = derivation.expect(tag::OCTET_STRING).ok_or(DAMAGED)?.content;
    let rounds = rounds(&mut derivation).ok_or(DAMAGED)?;
    derivation.optional(tag::INTEGER);
    let hash = derivation.sequence().and_then(|mut hash| oid(&mut hash));
    let hash = match hash.as_deref() {
        None | Some("1.2.840.113549.2.7") => pbkdf2::PBKDF2_HMAC_SHA1,
        Some("1.2.840.113549.2.9") => pbkdf2::PBKDF2_HMAC_SHA256,
        Some("1.2.840.113549.2.10") => pbkdf2::PBKDF2_HMAC_SHA384,
        Some("1.2.840.113549.2.11") => pbkdf2::PBKDF2_HMAC_SHA512,
        Some(other) => return Err(format!("its hash {other} is not known here; SHA-1 and SHA-2 are")),
    };
    let name = oid(&mut cipher).ok_or(DAMAGED)?;
    let iv = cipher.expect(tag::OCTET_STRING).ok_or(DAMAGED)?.content;
    let mut key = [0; 32];
    let mut derive = |length: usize| {
        pbkdf2::derive(hash, rounds, salt, password.as_bytes(), &mut key[..length]);
        key[..length].to_vec()
    };
    match &*name {
        "2.16.840.1.101.3.4.1.2" => cbc::<aes::Aes128>(&derive(16), iv, data),
        "2.16.840.1.101.3.4.1.22" => cbc::<aes::Aes192>(&derive(24), iv, data),
        "2.16.840.1.101.3.4.1.42" => cbc::<aes::Aes256>(&derive(32), iv, data),
        "1.2.840.113549.3.7" => cbc::<des::TdesEde3>(&derive(24), iv, data),
        _ => Err(format!("its cipher {name} is not known here; AES and triple DES in CBC mode are")),
    }
}

fn cbc<C>(key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, String>
where
    C: BlockDecryptMut + aes::cipher::BlockCipher + KeyInit,
{
    let decryptor = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| DAMAGED)?;
    decryptor.decrypt_padded_vec_mut::<Pkcs7>(data).map_err(|_| WRONG_PASSWORD.to_owned())
}

fn pkcs12_key(mut parameters: Der, password: &str, key_bytes: usize) -> Result<(Vec<u8>, Vec<u8>), String> {
    let salt = parameters.expect(tag::OCTET_STRING).ok_or(DAMAGED)?.content;
    let rounds = rounds(&mut parameters).ok_or(DAMAGED)?.get();
    Ok((
        derive::<Sha1>(1, password, salt, rounds, 64, key_bytes),
        derive::<Sha1>(2, password, salt, rounds, 64, 8),
    ))
}

fn pkcs12_rc2(parameters: Der, password: &str, key_bytes: usize, data: &[u8]) -> Result<Vec<u8>, String> {
    let (key, iv) = pkcs12_key(parameters, password, key_bytes)?;
    let cipher = rc2::Rc2::new_with_eff_key_len(&key, key_bytes * 8);
    let decryptor = <cbc::Decryptor<rc2::Rc2> as aes::cipher::InnerIvInit>::inner_iv_slice_init(cipher, &iv)
        .map_err(|_| DAMAGED)?;
    decryptor.decrypt_padded_vec_mut::<Pkcs7>(data).map_err(|_| WRONG_PASSWORD.to_owned())
}

/// Bytes from a password (RFC 7292, B.2) for `purpose` 1 (a key), 2 (an initial value) or 3 (a check sum's key). `block` is that of the
/// hash.
fn derive<D: Digest>(
    purpose: u8,
    password: &str,
    salt: &[u8],
    rounds: u32,
    block: usize,
    length: usize,
) -> Vec<u8> {
    let password: Vec<u8> = password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    let filled = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().copied().cycle().take(bytes.len().next_multiple_of(block)).collect()
    };
    let mut input = [filled(salt), filled(&password)].concat();
    let mut derived = Vec::new();
    loop {
        let mut hash = D::new().chain_update(vec![purpose; block]).chain_update(&input).finalize();
        for _ in 1..rounds {
            hash = D::digest(&hash);
        }
        derived.extend_from_slice(&hash);
        if derived.len() >= length {
            derived.truncate(length);
            return derived;
        }
        let addend: Vec<u8> = hash.iter().copied().cycle().take(block).collect();
        for chunk in input.chunks_mut(block) {
            let mut carry = 1;
            for (byte, add) in chunk.iter_mut().zip(&addend).rev() {
                carry += u16::from(*byte) + u16::from(*add);
                *byte = carry.to_be_bytes()[1];
                carry >>= 8;
            }
        }
    }
}

/// Checks the sum (`MacData`) over a PKCS #12 file's content.
pub(super) fn verify(mut mac: Der, password: &str, content: &[u8]) -> Result<(), String> {
    let mut digest = mac.sequence().ok_or(DAMAGED)?;
    let hash = digest.sequence().and_then(|mut algorithm| oid(&mut algorithm)).ok_or(DAMAGED)?;
    let sum = digest.expect(tag::OCTET_STRING).ok_or(DAMAGED)?.content;
    let salt = mac.expect(tag::OCTET_STRING).ok_or(DAMAGED)?.content;
    let rounds = match mac.is_empty() {
        true => 1,
        false => rounds(&mut mac).ok_or(DAMAGED)?.get(),
    };
    let (algorithm, key) = match &*hash {
        "1.3.14.3.2.26" => {
            (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, derive::<Sha1>(3, password, salt, rounds, 64, 20))
        }
        "2.16.840.1.101.3.4.2.1" => (hmac::HMAC_SHA256, derive::<Sha256>(3, password, salt, rounds, 64, 32)),
        "2.16.840.1.101.3.4.2.2" => (hmac::HMAC_SHA384, derive::<Sha384>(3, password, salt, rounds, 128, 48)),
        "2.16.840.1.101.3.4.2.3" => (hmac::HMAC_SHA512, derive::<Sha512>(3, password, salt, rounds, 128, 64)),
        _ => return Err(format!("its check sum {hash} is not known here; those of SHA-1 and SHA-2 are")),
    };
    hmac::verify(&hmac::Key::new(algorithm, &key), content, sum).map_err(|_| WRONG_PASSWORD.to_owned())
}
