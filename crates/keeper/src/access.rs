//! Who may do what: the schemes' rules over lists of permissions, as ZooKeeper's `checkACL` and `fixupACL`.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::acl::{Acl, Acls, Id, OPEN_ACL_UNSAFE};
use crate::proto::Code;

/// What `auth` stands for in a list may make it longer by no more than this.
const MAX_PROVED_BYTES: usize = 1 << 20;

/// The rules' settings.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Nothing is checked (`skipACL`).
    pub skip_acl: bool,
    /// The schemes that are switched off, such as `digest`.
    pub disabled_schemes: Vec<String>,
    /// Who has every permission that any certificate has (`X509AuthenticationProvider.superUser`).
    pub x509_super_user: Option<String>,
    /// What is given to this SASL user is given to all of them (`letAnySaslUserDoX`).
    pub any_sasl_user: Option<String>,
}

impl Access {
    /// Whether one of `ids` has one of the permissions `perm`.
    pub fn check(&self, acls: &Acls, perm: i32, ids: &[Id]) -> Result<(), Code> {
        if self.skip_acl || acls.is_empty() || ids.iter().any(|id| &*id.scheme == "super") {
            return Ok(());
        }
        let allows = |acl: &Acl| {
            acl.perms & perm != 0
                && (is_anyone(&acl.id)
                    || self.is_known(&acl.id.scheme)
                        && ids.iter().any(|id| id.scheme == acl.id.scheme && self.matches(id, &acl.id)))
        };
        acls.iter().any(allows).then_some(()).ok_or(Code::NoAuth)
    }

    /// The list that a znode gets when a client asks for `acls`: without duplicates, `auth` replaced by whom the client has proved to be.
    pub fn fixup(&self, acls: &Acls, ids: &[Id]) -> Result<Acls, Code> {
        if *acls == *OPEN_ACL_UNSAFE {
            return Ok(acls.clone());
        }
        let mut fixed: Vec<Acl> = Vec::with_capacity(acls.len());
        let mut proved_bytes = 0;
        let mut seen = HashSet::with_capacity(acls.len());
        for acl in acls.iter() {
            if !seen.insert(acl) {
                continue;
            }
            if is_anyone(&acl.id) {
                fixed.push(acl.clone());
            } else if &*acl.id.scheme == "auth" {
                let proved: Vec<&Id> =
                    ids.iter().filter(|id| self.is_known(&id.scheme) && is_proof(&id.scheme)).collect();
                proved_bytes += proved.iter().map(|id| id.scheme.len() + id.id.len() + 12).sum::<usize>();
                if proved.is_empty() || proved_bytes > MAX_PROVED_BYTES {
                    return Err(Code::InvalidAcl);
                }
                fixed.extend(proved.into_iter().map(|id| Acl { perms: acl.perms, id: id.clone() }));
            } else if self.is_known(&acl.id.scheme) && is_valid(&acl.id) {
                fixed.push(acl.clone());
            } else {
                return Err(Code::InvalidAcl);
            }
        }
        if fixed.is_empty() { Err(Code::InvalidAcl) } else { Ok(fixed.into()) }
    }

    /// Whether the server has this scheme: one of those for which Apache has an authentication provider.
    pub fn is_known(&self, scheme: &str) -> bool {
        matches!(scheme, "ip" | "digest" | "x509" | "sasl")
            && !self.disabled_schemes.iter().any(|disabled| disabled == scheme)
    }

    /// Whether an identity is the one that a list names, of the same scheme.
    fn matches(&self, have: &Id, wanted: &Id) -> bool {
        match &*wanted.scheme {
            "ip" => is_in(&have.id, &wanted.id),
            "sasl" => {
                have.id == wanted.id
                    || &*have.id == "super"
                    || self.any_sasl_user.as_deref().is_some_and(|any| *any == *wanted.id)
            }
            "x509" => {
                have.id == wanted.id || self.x509_super_user.as_deref().is_some_and(|user| *user == *have.id)
            }
            _ => have.id == wanted.id,
        }
    }
}

/// The name that `whoAmI` and the audit log show: without a password's hash. `super` is a power, not a name.
pub fn user_of(id: &Id) -> &str {
    match &*id.scheme {
        "super" => "",
        "digest" => id.id.split(':').next().unwrap_or_default(),
        _ => &id.id,
    }
}

fn is_anyone(id: &Id) -> bool {
    &*id.scheme == "world" && &*id.id == "anyone"
}

/// Whether being such an identity was proved, rather than observed.
fn is_proof(scheme: &str) -> bool {
    scheme != "ip"
}

/// Whether an identity can stand in a list: `isValid` of Apache's authentication providers.
fn is_valid(id: &Id) -> bool {
    match &*id.scheme {
        "ip" => Network::parse(&id.id).is_some(),
        // Java's `split` drops what is empty at the end.
        "digest" => id.id.trim_end_matches(':').split(':').count() == 2,
        "sasl" => is_principal(&id.id),
        "x509" => crate::x509::is_name(&id.id),
        _ => false,
    }
}

/// A user's name, or a Kerberos principal: `name`, `name@REALM`, `name/host@REALM`.
fn is_principal(id: &str) -> bool {
    match id.split_once('@') {
        None => true,
        Some((name, realm)) => !realm.contains(['/', '@']) && name.matches('/').count() <= 1,
    }
}

/// Whether the IP address of a client is one, or in the block, that a list names.
fn is_in(address: &str, network: &str) -> bool {
    match (Address::parse(address), Network::parse(network)) {
        (Some(address), Some(network)) => network.contains(address),
        _ => false,
    }
}

/// The identity of a client at this address, as Java writes addresses: `0:0:0:0:0:0:0:1`, and IPv4 as IPv4 wherever it came in.
pub fn ip_identity(address: IpAddr) -> Id {
    match address.to_canonical() {
        IpAddr::V4(address) => Id::new("ip", &address.to_string()),
        IpAddr::V6(address) => {
            let segments = address.segments().map(|segment| format!("{segment:x}"));
            Id::new("ip", &segments.join(":"))
        }
    }
}

/// An address as Apache reads it in lists: IPv4 with leading zeros as well, IPv6 without IPv4's notation in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    value: u128,
    bits: u32,
}

impl Address {
    fn parse(text: &str) -> Option<Address> {
        if text.contains(':') {
            return Some(Address { value: Address::parse_v6(text)?, bits: 128 });
        }
        let mut value = 0;
        let mut parts = 0;
        for part in text.split('.') {
            let part: i32 = part.parse().ok()?;
            value = value << 8 | u128::from(u8::try_from(part).ok()?);
            parts += 1;
        }
        (parts == 4).then_some(Address { value, bits: 32 })
    }

    fn parse_v6(text: &str) -> Option<u128> {
        let segments = |text: &str| -> Option<Vec<u16>> {
            if text.is_empty() {
                return Some(Vec::new());
            }
            let segment = |segment: &str| match segment.len() {
                1..=4 => i32::from_str_radix(segment, 16).ok().map(|segment| segment as u16),
                _ => None,
            };
            text.split(':').map(segment).collect()
        };
        let mut parts = text.split("::");
        let (head, tail) = (segments(parts.next()?)?, parts.next());
        let all = match tail {
            None if head.len() == 8 => head,
            None => return None,
            Some(tail) => {
                let tail = segments(tail)?;
                let zeros = 8usize.checked_sub(head.len() + tail.len()).filter(|zeros| *zeros > 0)?;
                [head, vec![0; zeros], tail].concat()
            }
        };
        if parts.next().is_some() {
            return None;
        }
        Some(all.into_iter().fold(0, |value, segment| value << 16 | u128::from(segment)))
    }
}

/// An address, or a block of them: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy)]
struct Network {
    address: Address,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (Address::parse(address)?, Some(bits)),
            None => (Address::parse(text)?, None),
        };
        let bits = match bits {
            Some(bits) => u32::try_from(bits.parse::<i32>().ok()?).ok()?,
            None => address.bits,
        };
        (bits <= address.bits).then_some(Network { address, bits })
    }

    fn contains(self, other: Address) -> bool {
        let prefix = |address: Address| address.value.checked_shr(address.bits - self.bits).unwrap_or(0);
        self.address.bits == other.bits && prefix(self.address) == prefix(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::perms;

    fn acls(list: &[(i32, &str, &str)]) -> Acls {
        list.iter().map(|(perms, scheme, id)| Acl { perms: *perms, id: Id::new(scheme, id) }).collect()
    }

    #[test]
    fn permissions_by_scheme() {
        let access = Access::default();
        let list = acls(&[
            (perms::READ, "ip", "10.1.0.0/16"),
            (perms::WRITE, "digest", "u:h"),
            (perms::ADMIN, "world", "anyone"),
        ]);
        let inside = [Id::new("ip", "10.1.2.3")];
        let outside = [Id::new("ip", "10.2.2.3"), Id::new("digest", "u:h")];
        assert_eq!(access.check(&list, perms::READ, &inside), Ok(()));
        assert_eq!(access.check(&list, perms::READ, &outside), Err(Code::NoAuth));
        assert_eq!(access.check(&list, perms::WRITE, &outside), Ok(()));
        assert_eq!(access.check(&list, perms::WRITE, &inside), Err(Code::NoAuth));
        assert_eq!(access.check(&list, perms::ADMIN, &inside), Ok(()));
        assert_eq!(access.check(&list, perms::CREATE, &[Id::new("super", "")]), Ok(()));
        assert_eq!(access.check(&acls(&[]), perms::CREATE, &inside), Ok(()));
    }

    /// What `isValid` of Apache's providers says.
    const VALIDITY: &[(&str, &str, bool)] = &[
        ("world", "x", false),
        ("foo", "x", false),
        ("super", "", false),
        ("ip", "10.0.0", false),
        ("ip", "10.0.0.0.0", false),
        ("ip", "10.0.0.256", false),
        ("ip", "010.0.0.1", true),
        ("ip", "1.2.3.4/33", false),
        ("ip", "1.2.3.4/-1", false),
        ("ip", "1.2.3.4/", false),
        ("ip", "1.2.3.4/0", true),
        ("ip", "localhost", false),
        ("ip", "::", true),
        ("ip", ":::", false),
        ("ip", "1::2::3", false),
        ("ip", "1:2:3:4:5:6:7:8", true),
        ("ip", "1:2:3:4:5:6:7::", true),
        ("ip", "1:2:3:4::5:6:7:8", false),
        ("ip", "2001:db8::/129", false),
        ("ip", "2001:db8::/32", true),
        ("ip", "::ffff:1.2.3.4", false),
        ("ip", "12345::", false),
        ("digest", "u", false),
        ("digest", "u:", false),
        ("digest", ":h", true),
        ("digest", "a:b:c", false),
        ("digest", "a:b:", true),
        ("sasl", "", true),
        ("sasl", "bob", true),
        ("sasl", "a/b", true),
        ("sasl", "a/b@C", true),
        ("sasl", "a/b/c@D", false),
        ("sasl", "a@b@c", false),
        ("x509", "", true),
        ("x509", "CN=a", true),
        ("x509", "cn=a, O=b;C=de", true),
        ("x509", "CN=a+OU=b,1.2.3=#040161", true),
        ("x509", "CN=\"a,b\"", true),
        ("x509", "CN=a\\,b", true),
        ("x509", "a", false),
        ("x509", "XY=a", false),
        ("x509", "CN=\"a", false),
        ("x509", "CN=a,", false),
    ];

    #[test]
    fn addresses_match_by_their_first_bits() {
        for (address, network, wanted) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4/31", false),
            ("10.1.2.5", "10.1.2.4/31", true),
            ("10.1.2.3", "10.1.255.255/16", true),
            ("1.2.3.4", "0.0.0.0/0", true),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("2001:db8:0:0:0:0:0:9", "2001:db8::/32", true),
            ("2001:db9:0:0:0:0:0:9", "2001:db8::/32", false),
            ("2001:db9:0:0:0:0:0:9", "2001:db8::/31", true),
            ("2001:db9:0:0:0:0:0:9", "::/0", true),
            ("1.2.3.4", "::/0", false),
            ("0:0:0:0:0:0:0:1", "0.0.0.0/0", false),
            ("1.2.3.4", "1.2.3.4/x", false),
        ] {
            assert_eq!(is_in(address, network), wanted, "{address} in {network}");
        }
        for (address, id) in [
            ("::1", "0:0:0:0:0:0:0:1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:DB8::a0", "2001:db8:0:0:0:0:0:a0"),
        ] {
            assert_eq!(ip_identity(address.parse().unwrap()), Id::new("ip", id));
        }
    }

    #[test]
    fn schemes_have_their_own_super_users() {
        let access = Access {
            x509_super_user: Some("CN=root".to_owned()),
            any_sasl_user: Some("any".to_owned()),
            ..Access::default()
        };
        for (have, wanted, allowed) in [
            (("sasl", "super"), ("sasl", "bob"), true),
            (("sasl", "joe"), ("sasl", "bob"), false),
            (("sasl", "joe"), ("sasl", "any"), true),
            (("x509", "CN=root"), ("x509", "CN=a"), true),
            (("x509", "CN=b"), ("x509", "CN=a"), false),
            (("digest", "super"), ("digest", "u:h"), false),
        ] {
            let list = acls(&[(31, wanted.0, wanted.1)]);
            let got = access.check(&list, perms::READ, &[Id::new(have.0, have.1)]);
            assert_eq!(got.is_ok(), allowed, "{have:?} {wanted:?}");
        }
        let off = Access { disabled_schemes: vec!["sasl".to_owned()], ..Access::default() };
        let list = acls(&[(31, "sasl", "bob")]);
        assert_eq!(off.check(&list, perms::READ, &[Id::new("sasl", "bob")]), Err(Code::NoAuth));
        assert_eq!(off.fixup(&list, &[]), Err(Code::InvalidAcl));
    }

    #[test]
    fn lists_are_checked_and_completed() {
        let access = Access::default();
        let ids = [Id::new("ip", "::1"), Id::new("digest", "u:h"), Id::new("digest", "v:i")];
        let fixup = |list: &[(i32, &str, &str)]| access.fixup(&acls(list), &ids);
        assert_eq!(fixup(&[(31, "auth", "")]), Ok(acls(&[(31, "digest", "u:h"), (31, "digest", "v:i")])));
        assert_eq!(
            fixup(&[(1, "world", "anyone"), (1, "world", "anyone")]),
            Ok(acls(&[(1, "world", "anyone")]))
        );
        for (scheme, id, valid) in VALIDITY {
            let list = [(31, *scheme, *id)];
            let wanted = if *valid { Ok(acls(&list)) } else { Err(Code::InvalidAcl) };
            assert_eq!(fixup(&list), wanted, "{scheme}:{id}");
        }
        assert_eq!(fixup(&[]), Err(Code::InvalidAcl));
        assert_eq!(access.fixup(&acls(&[(31, "auth", "")]), &ids[..1]), Err(Code::InvalidAcl));
        // `super` is above lists, and does not stand in them.
        let super_ids = [Id::new("super", ""), Id::new("digest", "u:h")];
        let fixed = access.fixup(&acls(&[(31, "auth", "")]), &super_ids);
        assert_eq!(fixed, Ok(acls(&[(31, "digest", "u:h")])));
        assert_eq!(access.fixup(&acls(&[(31, "auth", "")]), &super_ids[..1]), Err(Code::InvalidAcl));
    }
}
