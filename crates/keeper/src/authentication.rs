//! How clients prove who they are, and whether they must.

use sha1::{Digest, Sha1};

use crate::acl::Id;
use crate::proto::Code;

/// The settings.
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// `super:<hash>`: who proves to be this is above all permissions (`DigestAuthenticationProvider.superDigest`).
    pub super_digest: Option<String>,
    /// A client must have proved to be somebody of one of these schemes before it may ask anything (`enforce.auth.schemes`).
    pub enforced_schemes: Vec<String>,
}

impl Authentication {
    /// Who a client is that sends `auth` under `scheme`.
    pub fn authenticate(&self, scheme: &str, auth: &[u8], ids: &[Id]) -> Result<Vec<Id>, Code> {
        match scheme {
            "digest" => {
                let digest = digest_of(auth);
                let mut proved = Vec::new();
                if self.super_digest.as_deref() == Some(&digest) {
                    proved.push(Id::new("super", ""));
                }
                proved.push(Id::new("digest", &digest));
                Ok(proved)
            }
            // The connection's address is its proof already.
            "ip" => Ok(ids.iter().filter(|id| &*id.scheme == "ip").cloned().collect()),
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
}

/// `user:base64(sha1(user:password))` of `user:password`, as in ZooKeeper's `DigestAuthenticationProvider`.
pub fn digest_of(user_and_password: &[u8]) -> String {
    let user = user_and_password.split(|byte| *byte == b':').next().unwrap_or_default();
    format!("{}:{}", String::from_utf8_lossy(user), base64(&Sha1::digest(user_and_password)))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0, |bits: u32, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let place = (bits >> (18 - 6 * at)) as usize & 63;
            text.push(if at > chunk.len() { '=' } else { ALPHABET[place].into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn digests_are_zookeepers() {
        // From ZooKeeper's documentation of `DigestAuthenticationProvider`.
        assert_eq!(super::digest_of(b"super:superpw"), "super:g9oN2HttPfn8MMWJZ2r45Np/LIA=");
    }
}
