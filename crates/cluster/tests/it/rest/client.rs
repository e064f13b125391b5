//! A client of HTTP/1.1, as plain as can be: one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The only error message.
    pub(super) fn error(&self) -> String {
        let body = self.json();
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        assert_eq!(errors.len(), 1, "{self:?}");
        errors[0].as_str().unwrap().to_owned()
    }
}

pub(super) fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, "GET", path, b"")
}

/// The JSON of an answer that must be good.
pub(super) fn json(address: SocketAddr, path: &str) -> Value {
    let answer = get(address, path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

pub(super) fn send(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Answer {
    send_with(address, method, path, "", body)
}

/// With more headers, each with its line's end.
pub(super) fn send_with(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Who does not want all of it may close earlier.
    let _ = stream.write_all(body);
    read(stream)
}

/// Reads an answer to the end of the connection.
pub(super) fn read(stream: TcpStream) -> Answer {
    try_read(stream).expect("an answer")
}

/// The same; `None`: the connection ends before there is any.
pub(super) fn try_read(mut stream: TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Some(Answer { status, head: head.to_owned(), text: if chunked { joined(body) } else { body.to_owned() } })
}

fn joined(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap();
        if length == 0 {
            break;
        }
        text.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    text
}
