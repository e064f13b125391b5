//! How clients prove who they are, and whether they must.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use crate::acl::Id;
use crate::config::Secret;
use crate::proto::Code;

/// The settings.
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// `super:<hash>`: who proves to be this is above all permissions (`DigestAuthenticationProvider.superDigest`).
    pub super_digest: Option<String>,
    /// How passwords are hashed (`DigestAuthenticationProvider.digestAlg`).
    pub digest_algorithm: DigestAlgorithm,
    /// The schemes that are switched off, such as `digest`.
    pub disabled_schemes: Vec<String>,
    /// A client must have proved to be somebody of one of these schemes before it may ask anything (`enforce.auth.schemes`).
    pub enforced_schemes: Vec<String>,
    /// Names under which the scheme `ensemble` knows this server (`ensembleAuthName`); empty: all. `None`: there is no such scheme.
    pub ensemble_names: Option<Vec<String>>,
    /// SASL DIGEST-MD5; `None`: it is off.
    pub sasl: Option<SaslSettings>,
    /// What nobody can guess: challenges are made of it. The shell fills it with random bytes at each start.
    pub nonce_seed: [u8; 32],
}

/// Settings of SASL DIGEST-MD5.
#[derive(Debug, Clone, Default)]
pub struct SaslSettings {
    /// Users and their passwords.
    pub users: BTreeMap<String, Secret>,
    /// The users that are above all permissions (`superUser`).
    pub super_users: Vec<String>,
    /// Whether a client that fails stays connected, as nobody (`allowSaslFailedClients`).
    pub allow_failed: bool,
}

impl Authentication {
    /// Who a client is that sends `auth` under `scheme`, as Apache's authentication providers answer.
    pub fn authenticate(&self, scheme: &str, auth: &[u8], ids: &[Id]) -> Result<Vec<Id>, Code> {
        if self.disabled_schemes.iter().any(|disabled| disabled == scheme) {
            return Err(Code::AuthFailed);
        }
        match scheme {
            "digest" => {
                let digest = self.digest_algorithm.digest_of(auth);
                let mut proved = Vec::new();
                if self.super_digest.as_deref() == Some(&digest) {
                    proved.push(Id::new("super", ""));
                }
                proved.push(Id::new("digest", &digest));
                Ok(proved)
            }
            // The connection's address is its proof already.
            "ip" => Ok(ids.iter().filter(|id| &*id.scheme == "ip").cloned().collect()),
            // As is the certificate that it came with.
            "x509" => {
                let proved: Vec<Id> = ids.iter().filter(|id| &*id.scheme == "x509").cloned().collect();
                if proved.is_empty() { Err(Code::AuthFailed) } else { Ok(proved) }
            }
            // Not an identity: a client makes sure that it speaks to the right ensemble.
            "ensemble" => match &self.ensemble_names {
                Some(names) if auth.is_empty() || names.is_empty() => Ok(Vec::new()),
                Some(names) if names.iter().any(|name| name.as_bytes() == auth) => Ok(Vec::new()),
                _ => Err(Code::AuthFailed),
            },
            _ => Err(Code::AuthFailed),
        }
    }

    /// Whether a client with these identities may ask.
    pub fn enforce(&self, ids: &[Id]) -> Result<(), Code> {
        let proved = |scheme: &String| ids.iter().any(|id| *id.scheme == **scheme);
        match self.enforced_schemes.is_empty() || self.enforced_schemes.iter().any(proved) {
            true => Ok(()),
            false => Err(Code::SessionClosedRequireSaslAuth),
        }
    }

    /// Whether clients must come with SASL: then nobody that fails stays connected.
    pub fn requires_sasl(&self) -> bool {
        self.enforced_schemes.iter().any(|scheme| scheme == "sasl")
    }

    /// A challenge for a connection that nobody can guess: a hash of the seed and the connection's number.
    pub fn nonce(&self, connection: u64) -> String {
        let hash =
            Sha256::new().chain_update(self.nonce_seed).chain_update(connection.to_be_bytes()).finalize();
        STANDARD.encode(hash)
    }
}

/// How the scheme `digest` hashes passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum DigestAlgorithm {
    Md5,
    #[default]
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_224,
    Sha512_256,
}

impl DigestAlgorithm {
    /// Their names.
    pub const NAMES: &str = "SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/224, SHA-512/256, MD5";

    /// The algorithm that Java's `MessageDigest` knows by this name.
    pub fn from_java_name(name: &str) -> Option<DigestAlgorithm> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => DigestAlgorithm::Md5,
            "SHA" | "SHA1" | "SHA-1" => DigestAlgorithm::Sha1,
            "SHA224" | "SHA-224" => DigestAlgorithm::Sha224,
            "SHA256" | "SHA-256" => DigestAlgorithm::Sha256,
            "SHA384" | "SHA-384" => DigestAlgorithm::Sha384,
            "SHA512" | "SHA-512" => DigestAlgorithm::Sha512,
            "SHA512/224" | "SHA-512/224" => DigestAlgorithm::Sha512_224,
            "SHA512/256" | "SHA-512/256" => DigestAlgorithm::Sha512_256,
            _ => return None,
        })
    }

    /// `user:base64(hash(user:password))` of `user:password`, as in ZooKeeper's `DigestAuthenticationProvider`.
    pub fn digest_of(self, user_and_password: &[u8]) -> String {
        let text = String::from_utf8_lossy(user_and_password);
        let bytes = text.as_bytes();
        let hash = match self {
            DigestAlgorithm::Md5 => STANDARD.encode(md5::Md5::digest(bytes)),
            DigestAlgorithm::Sha1 => STANDARD.encode(Sha1::digest(bytes)),
            DigestAlgorithm::Sha224 => STANDARD.encode(Sha224::digest(bytes)),
            DigestAlgorithm::Sha256 => STANDARD.encode(Sha256::digest(bytes)),
            DigestAlgorithm::Sha384 => STANDARD.encode(Sha384::digest(bytes)),
            DigestAlgorithm::Sha512 => STANDARD.encode(Sha512::digest(bytes)),
            DigestAlgorithm::Sha512_224 => STANDARD.encode(Sha512_224::digest(bytes)),
            DigestAlgorithm::Sha512_256 => STANDARD.encode(Sha512_256::digest(bytes)),
        };
        format!("{}:{hash}", text.split(':').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_zookeepers() {
        // The first is from ZooKeeper's documentation, the others are what its DigestAuthenticationProvider prints.
        for (name, text, digest) in [
            ("SHA1", &b"super:superpw"[..], "super:g9oN2HttPfn8MMWJZ2r45Np/LIA="),
            ("SHA1", b"a:b:c", "a:cLzgnoJ6mP5qz3w+mwvPE2vDgu0="),
            ("SHA1", b"noColon", "noColon:1iARQVlpyO0wQkDZk1DZb1pOiC8="),
            ("SHA-256", b"super:superpw", "super:NhrDsglBUaCwNy464nxjg/Ig/dwhOCotNQxX54rqg50="),
            (
                "SHA-512",
                b"super:superpw",
                "super:qT5NrG28chvcJYXI29lh1kO1uJ+x80PJNDkNatWXAlOd05fYNovtcDcx38J39plrBq+SphmV85uUmCQJ5mD44A==",
            ),
            ("MD5", b"super:superpw", "super:Rl9hUgQoaOqJhhKxoihhhQ=="),
            ("SHA-512/256", b"super:superpw", "super:KS7ODoASf5glW5W0FRTgrh8LBUPEkyKYOFFB7OtI8w0="),
        ] {
            assert_eq!(DigestAlgorithm::from_java_name(name).unwrap().digest_of(text), digest);
        }
        assert_eq!(DigestAlgorithm::from_java_name("RipeMD160"), None);
    }

    #[test]
    fn who_clients_are() {
        let digest = "super:g9oN2HttPfn8MMWJZ2r45Np/LIA=";
        let mut authentication = Authentication {
            super_digest: Some(digest.to_owned()),
            ensemble_names: Some(vec!["here".to_owned()]),
            ..Authentication::default()
        };
        let (ip, cert) = (Id::new("ip", "1.2.3.4"), Id::new("x509", "CN=a"));
        let ids = [ip.clone(), cert.clone()];
        for (scheme, auth, proved) in [
            ("digest", &b"super:superpw"[..], Ok(vec![Id::new("super", ""), Id::new("digest", digest)])),
            ("ip", b"", Ok(vec![ip])),
            ("x509", b"", Ok(vec![cert])),
            ("ensemble", b"here", Ok(vec![])),
            ("ensemble", b"", Ok(vec![])),
            ("ensemble", b"there", Err(Code::AuthFailed)),
            ("sasl", b"x", Err(Code::AuthFailed)),
            ("world", b"anyone", Err(Code::AuthFailed)),
            ("super", b"", Err(Code::AuthFailed)),
        ] {
            assert_eq!(authentication.authenticate(scheme, auth, &ids), proved, "{scheme}");
        }
        assert_eq!(authentication.authenticate("x509", b"", &ids[..1]), Err(Code::AuthFailed));
        authentication.disabled_schemes = vec!["digest".to_owned()];
        assert_eq!(authentication.authenticate("digest", b"a:b", &ids), Err(Code::AuthFailed));
        authentication.enforced_schemes = vec!["sasl".to_owned(), "x509".to_owned()];
        assert_eq!(authentication.enforce(&ids), Ok(()));
        assert_eq!(authentication.enforce(&ids[..1]), Err(Code::SessionClosedRequireSaslAuth));
        assert!(authentication.requires_sasl());
        assert_ne!(authentication.nonce(1), authentication.nonce(2));
    }
}
