//! The client against a server that plays a script.

use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::acl::OPEN_ACL_UNSAFE;
use crate::proto::{Code, EventType};

/// Answers the first packet, then calls `answer` with each frame for the frames to send back, until the client goes.
fn server(mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeted = false;
        loop {
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                return;
            }
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut frame).unwrap();
            let answers = match greeted {
                true => answer(&frame),
                false => {
                    let mut out = Vec::new();
                    ConnectResponse {
                        protocol_version: 0,
                        timeout_ms: 4000,
                        session_id: 7,
                        passwd: b"0123456789abcdef",
                        read_only: Some(false),
                    }
                    .write(&mut out);
                    vec![out]
                }
            };
            greeted = true;
            for answer in answers {
                let mut bytes = Vec::new();
                bytes.buffer(Some(&answer));
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        }
    });
    (address, thread)
}

fn reply(xid: i32, zxid: i64, err: i32, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::new();
    ReplyHeader { xid, zxid, err }.write(&mut frame);
    body(&mut frame);
    frame
}

fn xid_of(frame: &[u8]) -> i32 {
    Reader::new(frame).int().unwrap()
}

fn connect(address: &str) -> Client {
    Client::connect_with(address, Options { keep_alive: false, ..Options::default() }).unwrap()
}

#[test]
fn notifications_before_an_answer_are_queued_and_chroots_taken_off() {
    let (address, _thread) = server(|frame| {
        let request = Request::read(op::CREATE, &mut Reader::new(&frame[8..])).unwrap().unwrap();
        let Request::Create(create) = request else { panic!("{request:?}") };
        assert_eq!(create.path, "/root/a");
        let notification = reply(-1, -1, 0, |out| {
            out.int(EventType::NodeCreated as i32);
            out.int(3);
            out.string("/root/a");
        });
        vec![notification, reply(xid_of(frame), 5, 0, |out| out.string("/root/a"))]
    });
    let mut client = connect(&format!("{address}/root"));
    assert_eq!(client.session_timeout(), Duration::from_secs(4));
    let created = client.create("/a", None, OPEN_ACL_UNSAFE.clone(), Create::Persistent).unwrap();
    assert_eq!(created, "/a");
    assert_eq!(client.last_zxid(), 5);
    let notification = client.notification(Duration::ZERO).unwrap().unwrap();
    assert_eq!(notification.path, "/a");
    assert_eq!(notification.event_type(), Some(EventType::NodeCreated));
}

#[test]
fn refusals_are_errors_of_the_helpers_only() {
    let (address, _thread) = server(|frame| vec![reply(xid_of(frame), 9, Code::NoNode as i32, |_| {})]);
    let mut client = connect(&address);
    let request = Request::GetData { path: "/a".into(), watch: false };
    assert_eq!(client.request(&request).unwrap().err, Code::NoNode as i32);
    let error = client.get_data("/a", false).unwrap_err();
    assert_eq!(error.to_string(), "getData /a: no such znode");
    assert_eq!(client.exists("/a", false).unwrap(), None);
}

#[test]
fn answers_out_of_order_are_told() {
    let mut held = Vec::new();
    let (address, _thread) = server(move |frame| {
        held.insert(0, reply(xid_of(frame), 1, 0, |_| {}));
        if held.len() == 2 { std::mem::take(&mut held) } else { Vec::new() }
    });
    let mut client = connect(&address);
    client.send(&Request::Delete { path: "/a".into(), version: -1 }).unwrap();
    client.send(&Request::Delete { path: "/b".into(), version: -1 }).unwrap();
    let error = client.receive().unwrap_err();
    assert!(matches!(error, Error::OutOfOrder { got: 2, wanted: Unanswered(Some(1)) }), "{error}");
}

#[test]
fn what_is_no_answer_is_told_and_a_closed_connection_seen() {
    let (address, _thread) = server(|_| vec![vec![1, 2, 3]]);
    let mut client = connect(&address);
    assert!(matches!(client.ping(), Err(Error::Malformed(_))));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut wire = Wire::connect(&address, Duration::from_secs(5)).unwrap();
    drop(listener.accept().unwrap());
    assert!(wire.is_closed_within(Duration::from_secs(5)));
    assert!(matches!(wire.read_frame(Duration::from_secs(5)), Err(Error::Closed)));
}
