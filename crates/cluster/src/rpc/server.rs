//! A JobManager's port: greets who connects, and hands on whom it knows what to do with.
//!
//! Invariant: who says nothing, or speaks another protocol or of another cluster, costs one thread for at most
//! [`GREETING_TIMEOUT`], and there are at most [`MAX_GREETINGS`] of them.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::frame;
use super::message::{Hello, PROTOCOL, Welcome};
use super::stream::{RpcTls, Stream};

/// How long the first frame may take, either way.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections that have not been greeted yet.
const MAX_GREETINGS: usize = 256;

/// An open port; closed when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

/// What becomes of a connection: says it to the other side, and keeps the stream if it likes.
pub(crate) type OnHello = dyn Fn(Hello, Stream) + Send + Sync;

impl Server {
    /// Opens the port.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn start(bind: &str, cluster: &str, tls: RpcTls, on_hello: Arc<OnHello>) -> io::Result<Self> {
        let listener = TcpListener::bind(bind)?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (stop, cluster) = (stopped.clone(), cluster.to_owned());
        let accept = move || {
            let greetings = Arc::new(AtomicUsize::new(0));
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else {
                    // Too many open files, most likely: the next attempt must not spin.
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                if greetings.fetch_add(1, Ordering::AcqRel) >= MAX_GREETINGS {
                    greetings.fetch_sub(1, Ordering::AcqRel);
                    continue;
                }
                let (cluster, tls) = (cluster.clone(), tls.clone());
                let (on_hello, done) = (on_hello.clone(), greetings.clone());
                let greet = move || {
                    if let Err(error) = greet(stream, &cluster, &tls, on_hello.as_ref()) {
                        tracing::debug!("a connection was not greeted: {error}");
                    }
                    done.fetch_sub(1, Ordering::AcqRel);
                };
                if std::thread::Builder::new().name("rpc-greet".into()).spawn(greet).is_err() {
                    greetings.fetch_sub(1, Ordering::AcqRel);
                }
            }
        };
        std::thread::Builder::new().name("rpc-accept".into()).spawn(accept)?;
        Ok(Self { address, stopped })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the thread, which closes the port.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        let _ = TcpStream::connect_timeout(&address, Duration::from_millis(200));
    }
}

fn greet(socket: TcpStream, cluster: &str, tls: &RpcTls, on_hello: &OnHello) -> io::Result<()> {
    socket.set_read_timeout(Some(GREETING_TIMEOUT))?;
    socket.set_write_timeout(Some(GREETING_TIMEOUT))?;
    let mut stream = tls.server(socket)?;
    let hello: Hello = frame::read(&mut stream, &mut Vec::new())?;
    let refusal = if hello.protocol != PROTOCOL {
        format!("this build speaks protocol {PROTOCOL}, not {}", hello.protocol)
    } else if hello.cluster != cluster {
        format!("this is cluster {cluster}, not {}", hello.cluster)
    } else {
        on_hello(hello, stream);
        return Ok(());
    };
    answer(&mut stream, &Welcome::Refused(refusal))
}

/// Answers a hello.
pub(crate) fn answer(stream: &mut Stream, welcome: &Welcome) -> io::Result<()> {
    stream.write_all(&frame::encode(welcome).map_err(io::Error::other)?)
}

/// Connects to a JobManager: the stream, and the epoch in which it leads.
///
/// # Errors
/// When it does not answer, or refuses, which it gives a reason for.
pub(crate) fn connect(address: &str, tls: &RpcTls, hello: &Hello) -> io::Result<(Stream, u64)> {
    let socket = dial(address, GREETING_TIMEOUT)?;
    socket.set_read_timeout(Some(GREETING_TIMEOUT))?;
    socket.set_write_timeout(Some(GREETING_TIMEOUT))?;
    let mut stream = tls.client(socket, address)?;
    stream.configure(GREETING_TIMEOUT)?;
    stream.write_all(&frame::encode(hello).map_err(io::Error::other)?)?;
    match frame::read(&mut stream, &mut Vec::new())? {
        Welcome::Accepted { epoch } => Ok((stream, epoch)),
        Welcome::Refused(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
    }
}

/// A plain connection to `host:port`, tried at each of the host's addresses. It is refused only if it is at all of them.
pub(crate) fn dial(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    use std::net::ToSocketAddrs;
    let mut failure = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                if failure.as_ref().is_none_or(|e: &io::Error| e.kind() == io::ErrorKind::ConnectionRefused) {
                    failure = Some(error);
                }
            }
        }
    }
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"));
    Err(failure.unwrap_or_else(none))
}

/// Whether `host:port` refuses connections: the host is there, and nobody listens. A process that had the port is dead.
pub(crate) fn refuses(address: &str) -> bool {
    dial(address, Duration::from_millis(250)).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::super::message::Role;
    use super::*;

    fn hello(protocol: u32, cluster: &str) -> Hello {
        Hello { protocol, cluster: cluster.into(), role: Role::Standby { id: "b".into() } }
    }

    #[test]
    fn strangers_are_refused_with_a_reason() {
        let welcome =
            |_: Hello, mut stream: Stream| drop(answer(&mut stream, &Welcome::Accepted { epoch: 3 }));
        let server =
            Server::start("127.0.0.1:0", "/c", RpcTls::default(), Arc::new(welcome)).expect("a port");
        let address = server.address().to_string();
        assert_eq!(connect(&address, &RpcTls::default(), &hello(PROTOCOL, "/c")).expect("welcome").1, 3);
        for (hello, reason) in [(hello(99, "/c"), "not 99"), (hello(PROTOCOL, "/d"), "not /d")] {
            let error = connect(&address, &RpcTls::default(), &hello).err().expect("refused").to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_port_that_was_closed_refuses() {
        let server =
            Server::start("127.0.0.1:0", "/c", RpcTls::default(), Arc::new(|_, _| ())).expect("a port");
        let address = server.address().to_string();
        assert!(!refuses(&address));
        drop(server);
        while !refuses(&address) {
            std::thread::yield_now();
        }
    }
}
