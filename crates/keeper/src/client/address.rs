//! Lists of servers: `host:port,host:port/chroot`.

use std::str::FromStr;

use super::Error;

/// ZooKeeper's client port.
pub const DEFAULT_PORT: u16 = 2181;

/// Servers of one ensemble, and the znode that counts as the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    hosts: Vec<String>,
    chroot: String,
}

impl Servers {
    /// Each `host:port`.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The root's path; empty if it is the server's root.
    pub fn chroot(&self) -> &str {
        &self.chroot
    }
}

impl FromStr for Servers {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::Address(text.to_owned());
        let (hosts, chroot) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() && !crate::path::is_valid(chroot) {
            return Err(refused());
        }
        let hosts: Vec<String> = hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(|host| with_port(host).ok_or_else(refused))
            .collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err(refused());
        }
        Ok(Servers { hosts, chroot: chroot.to_owned() })
    }
}

/// The host with its port, or with [`DEFAULT_PORT`]. An address of IPv6 with a port stands in brackets.
fn with_port(host: &str) -> Option<String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse().ok()?),
        _ => (host, DEFAULT_PORT),
    };
    match name {
        "" => None,
        name if name.contains(':') && !name.starts_with('[') => Some(format!("[{name}]:{port}")),
        name => Some(format!("{name}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_servers() {
        let servers: Servers = "a:1,b, [::1]:3 ,::1/x/y".parse().unwrap();
        assert_eq!(servers.hosts(), ["a:1", "b:2181", "[::1]:3", "[::1]:2181"]);
        assert_eq!(servers.chroot(), "/x/y");
        assert_eq!("a/".parse::<Servers>().unwrap().chroot(), "");
        for wrong in ["", "/x", "a:", "a:x", "a:70000", ":1", "a//x", "a/x/"] {
            assert!(wrong.parse::<Servers>().is_err(), "{wrong:?}");
        }
    }
}
