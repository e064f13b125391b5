//! How the shell shows things, as zkCli does.

use std::fmt::Write;

use crate::acl::{Acl, Acls, Id, perms};
use crate::client::Notification;
use crate::proto::{Code, EventType, Stat};

/// A stat, one field a line.
pub(super) fn stat(stat: &Stat) -> String {
    format!(
        "cZxid = 0x{:x}\nctime = {}\nmZxid = 0x{:x}\nmtime = {}\npZxid = 0x{:x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = 0x{:x}\ndataLength = {}\nnumChildren = {}\n",
        stat.czxid,
        crate::time::date(stat.ctime),
        stat.mzxid,
        crate::time::date(stat.mtime),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children
    )
}

/// Letters of permissions.
const LETTERS: [(char, i32); 5] = [
    ('c', perms::CREATE),
    ('d', perms::DELETE),
    ('r', perms::READ),
    ('w', perms::WRITE),
    ('a', perms::ADMIN),
];

/// An entry of an access control list, as `getAcl` shows it.
pub(super) fn acl(acl: &Acl) -> String {
    let letters = LETTERS.iter().filter(|(_, bit)| acl.perms & bit != 0).map(|(letter, _)| letter);
    format!("'{},'{}\n: {}\n", acl.id.scheme, acl.id.id, letters.collect::<String>())
}

/// An access control list: `scheme:id:perms,…`. The id may hold colons.
pub(super) fn parse_acls(text: &str) -> Result<Acls, String> {
    let parse = |entry: &str| {
        let (scheme, rest) = entry.split_once(':')?;
        let (id, letters) = rest.rsplit_once(':')?;
        let bit = |letter: char| LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, bit)| bit);
        let bits = letters.chars().map(bit).try_fold(0, |bits, bit| Some(bits | bit?))?;
        Some(Acl { perms: bits, id: Id::new(scheme, id) })
    };
    text.split(',')
        .map(|entry| {
            parse(entry).ok_or_else(|| {
                format!("{entry} does not have the form scheme:id:perm, with perm of the letters cdrwa")
            })
        })
        .collect()
}

/// A notification, as zkCli's `WATCHER::` blocks show it.
pub(super) fn watcher(notification: &Notification) -> String {
    let state = match notification.state {
        0 => "Disconnected",
        3 => "SyncConnected",
        4 => "AuthFailed",
        5 => "ConnectedReadOnly",
        6 => "SaslAuthenticated",
        7 => "Closed",
        -112 => "Expired",
        _ => "Unknown",
    };
    let path = if notification.path.is_empty() { "null" } else { &notification.path };
    format!(
        "\nWATCHER::\n\nWatchedEvent state:{state} type:{} path:{path} zxid: {}\n",
        event(notification.event_type()),
        notification.zxid
    )
}

/// An event's name.
pub(super) fn event(event_type: Option<EventType>) -> &'static str {
    match event_type {
        Some(EventType::NodeCreated) => "NodeCreated",
        Some(EventType::NodeDeleted) => "NodeDeleted",
        Some(EventType::NodeDataChanged) => "NodeDataChanged",
        Some(EventType::NodeChildrenChanged) => "NodeChildrenChanged",
        None => "None",
    }
}

/// A server's refusal.
pub(super) fn refusal(err: i32, path: &str) -> String {
    let code = Code::from_int(err);
    let known = match code {
        Some(Code::NoNode) => "Node does not exist: ",
        Some(Code::NoChildrenForEphemerals) => "Ephemerals cannot have children: ",
        Some(Code::NodeExists) => "Node already exists: ",
        Some(Code::NotEmpty) => "Node not empty: ",
        Some(Code::NotReadOnly) => "Not a read-only call: ",
        Some(Code::InvalidAcl) => "Acl is not valid : ",
        Some(Code::NoAuth) => "Insufficient permission : ",
        Some(Code::BadArguments) => "Arguments are not valid : ",
        Some(Code::BadVersion) => "version No is not valid : ",
        Some(Code::QuotaExceeded) => "Quota has exceeded : ",
        _ => {
            let name = match code {
                Some(Code::ReconfigDisabled) => "Reconfig is disabled".to_owned(),
                Some(Code::NoWatcher) => "No such watcher".to_owned(),
                Some(code) => format!("{code:?}"),
                None => format!("Unknown error {err}"),
            };
            let path = if path.is_empty() { String::new() } else { format!(" for {path}") };
            return format!("KeeperErrorCode = {name}{path}");
        }
    };
    format!("{known}{path}")
}

/// Bytes in base 64.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for index in 0..4 {
            text.push(match index <= chunk.len() {
                true => char::from(BASE64[(bits >> (18 - 6 * index)) as usize & 63]),
                false => '=',
            });
        }
    }
    text
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes of base 64; padding may be left out.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for (index, digit) in chunk.iter().enumerate() {
            let value = BASE64.iter().position(|known| known == digit)?;
            bits |= (value as u32) << (18 - 6 * index);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

/// Bytes as offset, hexadecimal and text, 16 a line, in a frame.
pub(super) fn hex_dump(bytes: &[u8]) -> String {
    let rule = format!("+--------+{}+{}+\n", "-".repeat(49), "-".repeat(16));
    let mut text = format!("         +{}+\n         |", "-".repeat(49));
    for index in 0..16 {
        let _ = write!(text, "  {index:x}");
    }
    text += " |\n";
    text += &rule;
    for (index, line) in bytes.chunks(16).enumerate() {
        let mut hex = String::new();
        let mut plain = String::new();
        for byte in line {
            let _ = write!(hex, " {byte:02x}");
            plain.push(if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' });
        }
        let _ = writeln!(text, "|{:08x}|{hex:<48} |{plain:<16}|", index * 16);
    }
    text += rule.trim_end();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_back_and_forth() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
            assert_eq!(from_base64(coded).unwrap(), plain.as_bytes());
        }
        for wrong in ["Z", "Zg===", "Z-==", "ä"] {
            assert_eq!(from_base64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn access_control_lists() {
        let acls = parse_acls("world:anyone:r,digest:u:hash=:cdrwa").unwrap();
        assert_eq!(acls.len(), 2);
        assert_eq!(&*acls[1].id.id, "u:hash=");
        assert_eq!(acl(&acls[1]), "'digest,'u:hash=\n: cdrwa\n");
        for wrong in ["world", "world:anyone", "world:anyone:x"] {
            assert!(parse_acls(wrong).is_err(), "{wrong}");
        }
    }
}
