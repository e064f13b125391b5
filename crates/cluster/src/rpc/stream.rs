//! A connection's bytes, within TLS if that is on. One thread may read while another writes.
//!
//! Invariant: nobody waits for the network while he holds the session, so that a peer who does not read cannot keep anybody from
//! reading.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::error::Error;
use crate::network::tls::{TlsSettings, configs, server_name};

/// Read from the socket at once, in bytes: a TLS record.
const READ_BYTES: usize = 16 << 10;

/// Both sides of TLS, ready for use; or none.
#[derive(Clone, Default)]
pub(crate) struct RpcTls(Option<(Arc<ClientConfig>, Arc<ServerConfig>)>);

impl RpcTls {
    /// Reads keys and certificates.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub(crate) fn new(settings: Option<&TlsSettings>) -> Result<Self, Error> {
        Ok(Self(settings.map(configs).transpose()?))
    }

    /// The side of whoever has connected to `address`, a host with a port, once the handshake is done.
    ///
    /// # Errors
    /// When the other side is not what it should be.
    pub(crate) fn client(&self, socket: TcpStream, address: &str) -> io::Result<Stream> {
        let Some((client, _)) = &self.0 else { return Ok(Stream { socket, tls: None }) };
        let connection = ClientConnection::new(client.clone(), server_name(address)?);
        Stream::shake_hands(socket, connection.map_err(io::Error::other)?.into())
    }

    /// The side of whoever was connected to, once the handshake is done.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub(crate) fn server(&self, socket: TcpStream) -> io::Result<Stream> {
        let Some((_, server)) = &self.0 else { return Ok(Stream { socket, tls: None }) };
        let connection = ServerConnection::new(server.clone());
        Stream::shake_hands(socket, connection.map_err(io::Error::other)?.into())
    }
}

/// The two ends of what both threads share.
struct Session {
    connection: Mutex<Connection>,
    /// Held by whoever writes to the socket: records leave in the order in which they were sealed. Taken before `connection`.
    writing: Mutex<()>,
}

/// A connection.
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Arc<Session>>,
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }
}

impl Stream {
    fn shake_hands(mut socket: TcpStream, mut connection: Connection) -> io::Result<Self> {
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let session = Session { connection: Mutex::new(connection), writing: Mutex::default() };
        Ok(Self { socket, tls: Some(Arc::new(session)) })
    }

    /// Another handle to it.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, tls: self.tls.clone() })
    }

    /// Ends it, for all handles.
    pub(crate) fn shutdown(&self) {
        // It may have ended of itself.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// No delay, and how long a read or a write may take.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn configure(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        self.socket.set_read_timeout(Some(timeout))?;
        self.socket.set_write_timeout(Some(timeout))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.socket.read(buffer) };
        loop {
            match lock(&tls.connection).reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            let mut sealed = [0; READ_BYTES];
            let bytes = self.socket.read(&mut sealed)?;
            let mut connection = lock(&tls.connection);
            let mut rest = &sealed[..bytes];
            // Nothing more comes: what was read before is told first.
            if rest.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while !rest.is_empty() && connection.read_tls(&mut rest)? > 0 {
                let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
                connection.process_new_packets().map_err(invalid)?;
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.socket.write(bytes) };
        let _order = lock(&tls.writing);
        let mut sealed = Vec::new();
        let taken = {
            let mut connection = lock(&tls.connection);
            let taken = connection.writer().write(bytes)?;
            while connection.wants_write() {
                connection.write_tls(&mut sealed)?;
            }
            taken
        };
        self.socket.write_all(&sealed)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A session that a panic has left is refused by the other side, at worst.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
