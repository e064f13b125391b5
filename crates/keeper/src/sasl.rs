//! SASL DIGEST-MD5 (RFC 2831) as Java speaks it: authentication only (`qop=auth`), realm `zk-sasl-md5`, service `zookeeper`.
//!
//! Two exchanges: the client begins with nothing and gets a challenge; it answers with a hash of its password, and gets a hash in turn
//! that shows that the server knows the password as well.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use crate::config::Secret;

/// The realm, which is the name of the server as well.
pub const REALM: &str = "zk-sasl-md5";
/// What clients ask to use: the service, and the name of the server.
pub const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";

/// Why a client has not proved who it is, or a server not that it knows the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// A side speaks after it is done, or a client checks what it has not asked for.
    #[error("a SASL token came out of turn: each connection has one exchange, of two tokens each way")]
    OutOfTurn,
    /// The token cannot be read.
    #[error("a SASL token cannot be read: {0}")]
    Malformed(&'static str),
    /// Something is missing from the token.
    #[error("a SASL token has no `{0}`")]
    Missing(&'static str),
    /// Something in the token is not what it must be.
    #[error("a SASL token says {key}=`{value}`, which is not what was offered")]
    Mismatch {
        /// What is wrong.
        key: &'static str,
        /// What the token says.
        value: String,
    },
    /// There is no such user, or the password is wrong.
    #[error("the SASL user `{0}` is unknown, or the password is wrong")]
    Refused(String),
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The token for the client.
    pub token: Vec<u8>,
    /// Who the client is, when it has proved it.
    pub user: Option<String>,
}

/// The server's side of one exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SaslServer {
    /// Nothing has come.
    #[default]
    New,
    /// The client was given this nonce.
    Challenged(String),
    /// It has succeeded or failed. There is no second try.
    Done,
}

impl SaslServer {
    /// A token has come. `nonce` is used when it is the first: it must be one that nobody can guess, and new each time.
    pub fn step(
        &mut self,
        token: &[u8],
        users: &BTreeMap<String, Secret>,
        nonce: impl FnOnce() -> String,
    ) -> Result<Answer, SaslError> {
        match std::mem::replace(self, SaslServer::Done) {
            // What a client sends before it is asked counts for nothing, as with Java.
            SaslServer::New => {
                let nonce = nonce();
                let challenge =
                    format!("realm=\"{REALM}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
                *self = SaslServer::Challenged(nonce);
                Ok(Answer { token: challenge.into_bytes(), user: None })
            }
            SaslServer::Challenged(nonce) => verify(token, users, &nonce),
            SaslServer::Done => Err(SaslError::OutOfTurn),
        }
    }
}

/// Checks a client's response to the challenge with this nonce.
fn verify(token: &[u8], users: &BTreeMap<String, Secret>, nonce: &str) -> Result<Answer, SaslError> {
    let directives = Directives::parse(token)?;
    if let Some(charset) = directives.get("charset")
        && charset != b"utf-8"
    {
        return Err(directives.mismatch("charset"));
    }
    let utf8 = directives.get("charset").is_some();
    let user = decode(directives.need("username")?, utf8);
    for (key, wanted) in [("realm", REALM), ("nonce", nonce), ("nc", "00000001")] {
        if directives.need(key)? != wanted.as_bytes() {
            return Err(directives.mismatch(key));
        }
    }
    if directives.get("qop").is_some_and(|qop| qop != b"auth") {
        return Err(directives.mismatch("qop"));
    }
    let uri = directives.need("digest-uri")?;
    if !uri.eq_ignore_ascii_case(DIGEST_URI.as_bytes()) {
        return Err(directives.mismatch("digest-uri"));
    }
    let response = directives.need("response")?;
    // Without such a user, the same is computed all the same, so that nothing tells how far it came.
    let (known, password) = users.get(&user).map_or((false, ""), |password| (true, password.0.as_str()));
    let exchange = Exchange {
        user: &user,
        realm: REALM,
        password,
        nonce: nonce.as_bytes(),
        cnonce: directives.need("cnonce")?,
        authzid: directives.get("authzid"),
        uri,
        utf8,
    };
    if !equal(exchange.response("AUTHENTICATE").as_bytes(), response) || !known {
        return Err(SaslError::Refused(user));
    }
    Ok(Answer { token: format!("rspauth={}", exchange.response("")).into_bytes(), user: Some(user) })
}

/// The client's side, for tests and the shell.
#[derive(Debug, Clone)]
pub struct SaslClient {
    user: String,
    password: Secret,
    expected: Option<String>,
}

impl SaslClient {
    /// A client that is going to prove that it is `user`. Its first token is empty.
    pub fn new(user: &str, password: &str) -> Self {
        SaslClient { user: user.to_owned(), password: Secret(password.to_owned()), expected: None }
    }

    /// The answer to the server's challenge. `cnonce` must be one that nobody can guess.
    pub fn respond(&mut self, challenge: &[u8], cnonce: &str) -> Result<Vec<u8>, SaslError> {
        let directives = Directives::parse(challenge)?;
        let nonce = directives.need("nonce")?;
        let utf8 = directives.get("charset").is_some();
        let realm = directives.get("realm").map_or_else(String::new, |realm| decode(realm, utf8));
        let exchange = Exchange {
            user: &self.user,
            realm: &realm,
            password: &self.password.0,
            nonce,
            cnonce: cnonce.as_bytes(),
            authzid: None,
            uri: DIGEST_URI.as_bytes(),
            utf8,
        };
        self.expected = Some(exchange.response(""));
        let response = exchange.response("AUTHENTICATE");
        let charset = if utf8 { "charset=utf-8," } else { "" };
        let token = format!(
            "{charset}username=\"{}\",realm=\"{}\",nonce=\"{}\",nc=00000001,cnonce=\"{}\",\
             digest-uri=\"{DIGEST_URI}\",maxbuf=65536,response={response},qop=auth",
            quoted(&self.user),
            quoted(&realm),
            quoted(&String::from_utf8_lossy(nonce)),
            quoted(cnonce)
        );
        Ok(token.into_bytes())
    }

    /// Checks the server's last token: that it knows the password as well.
    pub fn finish(&self, token: &[u8]) -> Result<(), SaslError> {
        let directives = Directives::parse(token)?;
        let proof = directives.need("rspauth")?;
        match &self.expected {
            Some(expected) if equal(expected.as_bytes(), proof) => Ok(()),
            Some(_) => Err(directives.mismatch("rspauth")),
            None => Err(SaslError::OutOfTurn),
        }
    }
}

/// What both sides hash.
struct Exchange<'a> {
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    nonce: &'a [u8],
    cnonce: &'a [u8],
    authzid: Option<&'a [u8]>,
    uri: &'a [u8],
    utf8: bool,
}

impl Exchange<'_> {
    /// RFC 2831, 2.1.2.1. `method` is `AUTHENTICATE` for the client's hash and nothing for the server's.
    fn response(&self, method: &str) -> String {
        let encode = |text| encode(text, self.utf8);
        let secret = md5(&[&encode(self.user), b":", &encode(self.realm), b":", &encode(self.password)]);
        let mut a1 = vec![&secret[..], b":", self.nonce, b":", self.cnonce];
        if let Some(authzid) = self.authzid {
            a1.extend([&b":"[..], authzid]);
        }
        let (a1, a2) = (hex(&md5(&a1)), hex(&md5(&[method.as_bytes(), b":", self.uri])));
        let parts = [a1.as_bytes(), b":", self.nonce, b":00000001:", self.cnonce, b":auth:", a2.as_bytes()];
        hex(&md5(&parts))
    }
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As it is hashed: Latin-1 when all of it is Latin-1, even if it came as UTF-8.
fn encode(text: &str, utf8: bool) -> Vec<u8> {
    let latin1: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
    match latin1 {
        Some(latin1) => latin1,
        None if utf8 => text.as_bytes().to_vec(),
        None => text.chars().map(|char| u8::try_from(u32::from(char)).unwrap_or(b'?')).collect(),
    }
}

fn decode(bytes: &[u8], utf8: bool) -> String {
    match utf8 {
        true => String::from_utf8_lossy(bytes).into_owned(),
        false => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Compares in a time that does not tell where the first difference is.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |bits, (l, r)| bits | (l ^ r)) == 0
}

/// `key=value,key="value"`.
struct Directives(BTreeMap<String, Vec<u8>>);

impl Directives {
    fn parse(token: &[u8]) -> Result<Directives, SaslError> {
        let is_blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let mut directives = BTreeMap::new();
        let mut bytes = token.iter().copied().peekable();
        loop {
            while bytes.next_if(|byte| is_blank(*byte) || *byte == b',').is_some() {}
            if bytes.peek().is_none() {
                return Ok(Directives(directives));
            }
            let mut key = String::new();
            while let Some(byte) = bytes.next_if(|byte| !matches!(byte, b'=' | b',')) {
                key.push(byte.into());
            }
            if bytes.next() != Some(b'=') {
                return Err(SaslError::Malformed("a word without a value"));
            }
            while bytes.next_if(|byte| is_blank(*byte)).is_some() {}
            let mut value = Vec::new();
            if bytes.next_if_eq(&b'"').is_some() {
                loop {
                    match bytes.next() {
                        Some(b'"') => break,
                        Some(b'\\') => value.extend(bytes.next()),
                        Some(byte) => value.push(byte),
                        None => return Err(SaslError::Malformed("a quotation does not end")),
                    }
                }
            } else {
                while let Some(byte) = bytes.next_if(|byte| *byte != b',' && !is_blank(*byte)) {
                    value.push(byte);
                }
                if value.is_empty() {
                    return Err(SaslError::Malformed("a word without a value"));
                }
            }
            while bytes.next_if(|byte| is_blank(*byte)).is_some() {}
            if bytes.peek().is_some_and(|byte| *byte != b',') {
                return Err(SaslError::Malformed("something follows a value that is no comma"));
            }
            let key = key.trim().to_ascii_lowercase();
            if directives.insert(key, value).is_some() {
                return Err(SaslError::Malformed("a word comes twice"));
            }
        }
    }

    fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    fn need(&self, key: &'static str) -> Result<&[u8], SaslError> {
        self.get(key).ok_or(SaslError::Missing(key))
    }

    fn mismatch(&self, key: &'static str) -> SaslError {
        let value = String::from_utf8_lossy(self.get(key).unwrap_or_default()).into_owned();
        SaslError::Mismatch { key, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(list: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        list.iter().map(|(user, password)| ((*user).to_owned(), Secret((*password).to_owned()))).collect()
    }

    #[test]
    fn the_worked_example_of_rfc_2831() {
        // Section 4: an IMAP server.
        let exchange = Exchange {
            user: "chris",
            realm: "elwood.innosoft.com",
            password: "secret",
            nonce: b"OA6MG9tEQGm2hh",
            cnonce: b"OA6MHXh6VqTrRk",
            authzid: None,
            uri: b"imap/elwood.innosoft.com",
            utf8: true,
        };
        assert_eq!(exchange.response("AUTHENTICATE"), "d388dad90d4bbd760a152321f2143af7");
        assert_eq!(exchange.response(""), "ea40f60335c427b5527b84dbabcdfffd");
    }

    #[test]
    fn exchanges_recorded_from_java() {
        // Java 17's SaslClient and SaslServer, over a password with umlauts.
        for (user, nonce, cnonce, authzid, response, proof) in [
            (
                "bob",
                "PQaJF1+PojZ41HK93UlX4i7vSLKTZMI1DujcItue",
                "Zv4jgy/yIG/hYP0Yr/7Si4Mq4aOkFYhwsr2425LJ",
                "",
                "f9e974f85eba561eba5ac027d1bfe84e",
                "65696336b5269c063a3914c00169bf3a",
            ),
            (
                "böb",
                "D0itxxxu+Ewk5bu80U4Nbi9VC35zq1twBCWmtpHs",
                "gm6Exaf7IKl+yrI/y79SuUJaXZOGcihi0+LVEBWe",
                "",
                "f95189112c8202daefd4a94e0bc7fdd0",
                "0fcfccbe1d95b34b26a894b986433009",
            ),
            (
                "b€b",
                "OVhuHfXeRXu+qdiGlZ8xrM2fQTjt397MRdA1Q11d",
                "3VAZIOFj90+TXt7RMZz3v/H/foDicmj5vvPAPVQH",
                "",
                "23f3d84b0ecc36e155193594d1f2190d",
                "bf862540e1f948e1f7226a4f0ea05819",
            ),
            (
                "bob",
                "tDLS/BRZIWDTjYez0TY/FCDn3u08gttxXmDGBDSM",
                "mlI+kgxz2TjWJ3EsuNPPvMfBwCBaxnxO0rsSmprX",
                ",authzid=\"other\"",
                "9787087d0a735fd9c59c980bc2c27222",
                "090bc9b779e5b085f02f00e75b38a04c",
            ),
        ] {
            let users = users(&[(user, "pässwörd")]);
            let mut server = SaslServer::default();
            let challenge = server.step(b"", &users, || nonce.to_owned()).unwrap();
            assert_eq!(
                String::from_utf8(challenge.token.clone()).unwrap(),
                format!("realm=\"zk-sasl-md5\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess")
            );
            assert_eq!(challenge.user, None);
            let token = format!(
                "charset=utf-8,username=\"{user}\",realm=\"zk-sasl-md5\",nonce=\"{nonce}\",nc=00000001,\
                 cnonce=\"{cnonce}\",digest-uri=\"zookeeper/zk-sasl-md5\",maxbuf=65536,response={response},\
                 qop=auth{authzid}"
            );
            let mut client = SaslClient::new(user, "pässwörd");
            let own = client.respond(&challenge.token, cnonce).unwrap();
            if authzid.is_empty() {
                assert_eq!(String::from_utf8(own).unwrap(), token);
            }
            let answer = server.step(token.as_bytes(), &users, String::new).unwrap();
            assert_eq!(String::from_utf8(answer.token.clone()).unwrap(), format!("rspauth={proof}"));
            assert_eq!(answer.user.as_deref(), Some(user));
            assert_eq!(client.finish(&answer.token).is_ok(), authzid.is_empty());
            assert_eq!(server.step(b"", &users, String::new), Err(SaslError::OutOfTurn));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_once_and_for_all() {
        let users = users(&[("bob", "pw"), ("joe", "")]);
        let mut client = SaslClient::new("bob", "pw");
        let good = client.respond(b"realm=\"zk-sasl-md5\",nonce=\"N\",charset=utf-8", "c").unwrap();
        let good = String::from_utf8(good).unwrap();
        let run = |token: &str| {
            let mut server = SaslServer::default();
            server.step(b"", &users, || "N".to_owned()).unwrap();
            let result = server.step(token.as_bytes(), &users, String::new);
            assert_eq!(server.step(good.as_bytes(), &users, String::new), Err(SaslError::OutOfTurn));
            result.map(|answer| answer.user)
        };
        let bob = Ok(Some("bob".to_owned()));
        assert_eq!(run(&good), bob);
        assert_eq!(run(&good.replace(',', " , ")), bob);
        assert_eq!(run(&format!("{good},foo=bar,")), bob);
        assert_eq!(run(&good.replace(",qop=auth", "")), bob);
        assert_eq!(run(&good.replace("username=\"bob\"", "username=bob")), bob);
        let mismatch = |key, value: &str| Err(SaslError::Mismatch { key, value: value.to_owned() });
        for (from, to, wanted) in [
            ("nonce=\"N\"", "nonce=\"M\"", mismatch("nonce", "M")),
            ("nc=00000001", "nc=00000002", mismatch("nc", "00000002")),
            ("zookeeper/", "http/", mismatch("digest-uri", "http/zk-sasl-md5")),
            ("qop=auth", "qop=auth-int", mismatch("qop", "auth-int")),
            ("charset=utf-8", "charset=x", mismatch("charset", "x")),
            ("realm=\"zk-sasl-md5\",", "", Err(SaslError::Missing("realm"))),
            (",cnonce=\"c\"", "", Err(SaslError::Missing("cnonce"))),
            ("username=\"bob\",", "", Err(SaslError::Missing("username"))),
            ("username=\"bob\"", "username=\"joe\"", Err(SaslError::Refused("joe".to_owned()))),
            ("username=\"bob\"", "username=\"eve\"", Err(SaslError::Refused("eve".to_owned()))),
            ("qop=auth", "qop=auth,nc=1", Err(SaslError::Malformed("a word comes twice"))),
            ("qop=auth", "qop=", Err(SaslError::Malformed("a word without a value"))),
            ("qop=auth", "x=\"", Err(SaslError::Malformed("a quotation does not end"))),
        ] {
            assert!(good.contains(from), "{from}");
            assert_eq!(run(&good.replacen(from, to, 1)), wanted, "{to}");
        }
        // An unknown user has no password: not even the empty one.
        let mut nobody = SaslClient::new("eve", "");
        let token = nobody.respond(b"realm=\"zk-sasl-md5\",nonce=\"N\",charset=utf-8", "c").unwrap();
        assert_eq!(run(&String::from_utf8(token).unwrap()), Err(SaslError::Refused("eve".to_owned())));
        let mut server = SaslServer::default();
        assert_eq!(server.step(b"x", &users, || "N".to_owned()).unwrap().user, None);
        assert_eq!(server.step(good.as_bytes(), &users, String::new).map(|answer| answer.user), bob);
    }
}
