//! A connection that can be cut just when an answer is on its way: the request has arrived, and nobody is told what came of it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stands between a client and a server, until the test ends.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cut: Arc<AtomicBool>,
    refuse: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, refuse) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (cuts, refuses) = (cut.clone(), refuse.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, None));
                let cuts = cuts.clone();
                std::thread::spawn(move || pass(server, client, Some(cuts)));
            }
        });
        Self { address, cut, refuse }
    }

    /// The next bytes from the server are swallowed, and the connection is closed.
    pub(crate) fn swallow_next_answer(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// Whether an answer was swallowed since.
    pub(crate) fn has_swallowed(&self) -> bool {
        !self.cut.load(Ordering::SeqCst)
    }

    /// Whether new connections are closed at once.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.refuse.store(refuse, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, cut: Option<Arc<AtomicBool>>) {
    let mut bytes = [0; 65536];
    while let Ok(n) = from.read(&mut bytes) {
        let swallow = cut.as_ref().is_some_and(|cut| cut.swap(false, Ordering::SeqCst));
        if n == 0 || swallow || to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    // The other direction ends by this.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
