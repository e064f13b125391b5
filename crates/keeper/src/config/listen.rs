//! Addresses to listen on, and the lines of an ensemble's servers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::Result;
use super::settings::{Setting, Settings};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A name or an address; `None`: all of the machine's addresses.
    pub host: Option<String>,
    /// The port; 0: any that is free.
    pub port: u16,
}

impl Listen {
    /// The addresses to try, in this order: for all of the machine's, IPv6 (which takes IPv4 as well on most systems) before IPv4.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            None => Ok([IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()]
                .map(|address| SocketAddr::new(address, self.port))
                .to_vec()),
            Some(host) => Ok((host.as_str(), self.port).to_socket_addrs()?.collect()),
        }
    }

    pub(super) fn take(settings: &mut Settings, port_key: &str, host_key: &str) -> Result<Option<Listen>> {
        let host = settings.take(host_key).filter(|host| !host.value.is_empty());
        match settings.port(port_key)? {
            Some(port) => Ok(Some(Listen { host: host.map(|host| strip_brackets(&host.value)), port })),
            None => match host {
                Some(host) => {
                    Err(host.wrong(&format!("set, but {port_key} is not"), format!("set {port_key} as well")))
                }
                None => Ok(None),
            },
        }
    }
}

fn strip_brackets(host: &str) -> String {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.unwrap_or(host).to_owned()
}

/// A `server.N` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// N.
    pub id: i64,
    /// The line's value as it is written.
    pub text: String,
    /// Whether it is an observer, without a vote.
    pub observer: bool,
    /// Where it serves clients, when the line says so (`…;2181`).
    pub client: Option<Listen>,
}

impl Server {
    pub(super) fn parse(id: &str, setting: &Setting) -> Result<Server> {
        const ALLOWED: &str = "server.N=host:port:port[:participant|observer][;[host:]port]";
        let wrong = |problem: &str| setting.wrong(problem, ALLOWED);
        let id = id.parse().map_err(|_| wrong("what follows `server.` is not a number"))?;
        let mut parts = setting.value.split(';');
        let addresses = parts.next().unwrap_or_default();
        let client = parts.next().map(str::trim).filter(|client| !client.is_empty());
        let client = match client {
            None => None,
            Some(client) => {
                let (host, port) = client.rsplit_once(':').map_or((None, client), |(h, p)| (Some(h), p));
                let port = port.parse().map_err(|_| wrong("the client port is not a port"))?;
                Some(Listen { host: host.map(strip_brackets), port })
            }
        };
        let mut observer = false;
        for address in addresses.split('|') {
            // The address may be IPv6, in brackets.
            let (host, rest) = match address.trim().strip_prefix('[') {
                Some(rest) => rest.split_once("]:").ok_or_else(|| wrong("a `[` without `]:`"))?,
                None => address.trim().split_once(':').ok_or_else(|| wrong("no port"))?,
            };
            let mut fields = rest.split(':');
            let port = fields.next().unwrap_or_default();
            if host.is_empty() || port.parse::<u16>().is_err() {
                return Err(wrong("no host, or no port"));
            }
            for field in fields {
                match field.to_ascii_lowercase().as_str() {
                    "observer" => observer = true,
                    "participant" => {}
                    port if port.parse::<u16>().is_ok() => {}
                    _ => return Err(wrong("neither a port nor a kind of server")),
                }
            }
        }
        Ok(Server { id, text: setting.value.clone(), observer, client })
    }
}
