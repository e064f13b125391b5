//! Peers that do not keep to the protocol: their own connection ends, and nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;

use proptest::prelude::*;
use streamkeeper_cluster::network::NetworkEnvironment;
use streamkeeper_dataflow::network::FrameKind::Data;

use crate::support::{PATIENCE, Receiver, channel, eventually, exchange, pair, receiver};

/// An address that is smaller than any of loopback, so that its process connects.
const PEER: &str = "0.0.0.0:1";
const CAPACITY: usize = 10_000;

fn hello(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = b"SKEX\x01\x00".to_vec();
    for address in [from, to] {
        bytes.extend((address.len() as u16).to_le_bytes());
        bytes.extend(address.as_bytes());
    }
    bytes
}

fn frame(kind: u8, handle: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, handle, payload.len() as u32);
    bytes.extend(payload);
    bytes
}

fn header(kind: u8, handle: u64, length: u32) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(length.to_le_bytes());
    bytes.extend(handle.to_le_bytes());
    bytes
}

fn connect(to: &NetworkEnvironment) -> TcpStream {
    let mut stream = TcpStream::connect(to.address()).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(&hello(PEER, to.address())).expect("written");
    let mut answer = vec![0; hello(to.address(), PEER).len()];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(answer, hello(to.address(), PEER));
    stream
}

/// A receiver of a hostile sender, the sender's connection, and the receiver's handle.
fn victim(of: &NetworkEnvironment, generation: u64) -> (Receiver, TcpStream, u64) {
    let receiver = receiver(of, PEER, channel(generation, 0), CAPACITY);
    let mut stream = connect(of);
    let mut open = [0; 60];
    stream.read_exact(&mut open).expect("opened");
    assert_eq!((open[0], &open[52..]), (3, &(CAPACITY as u64).to_le_bytes()[..]));
    (receiver, stream, u64::from_le_bytes(open[8..16].try_into().expect("eight bytes")))
}

#[test]
fn who_breaks_the_protocol_loses_its_connection_and_the_reason_is_told() {
    let a = exchange();
    type Attack = fn(u64) -> Vec<u8>;
    let attacks: [(Attack, &str); 9] = [
        (|handle| frame(1, handle, &[0; CAPACITY / 2]).repeat(3), "without credit"),
        (|handle| header(1, handle, u32::MAX), "is not allowed"),
        (|handle| header(2, handle, 9 << 20), "is not allowed"),
        (|handle| frame(2, handle, b"").repeat(10_000), "controls"),
        (|handle| frame(9, handle, b""), "no header"),
        (|_| frame(3, 1, &[1; 44]).repeat(2), "opened twice"),
        (|_| frame(3, 1, &[1; 43]), "is not allowed"),
        (|handle| frame(1, handle, b"x")[..10].to_vec(), "closed"),
        (|handle| header(1, handle, 200 << 20), "closed"),
    ];
    for (n, (attack, reason)) in attacks.into_iter().enumerate() {
        let (mut receiver, mut stream, handle) = victim(&a, n as u64);
        // It may be closed before all is written.
        let _ = stream.write_all(&attack(handle));
        stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        eventually("the link is gone", || a.stats().connections == 0);
        let error = loop {
            match receiver.try_receive() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(error.is_recoverable() && error.to_string().contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_frame_of_a_receiver_that_has_left_is_dropped_and_counted() {
    let a = exchange();
    let (old, mut stream, handle) = victim(&a, 1);
    drop(old);
    let mut new = receiver(&a, PEER, channel(2, 0), CAPACITY);
    let mut frames = [0; 16 + 60];
    stream.read_exact(&mut frames).expect("closed one, opened the other");
    assert_eq!((frames[0], frames[16]), (5, 3));
    let next = u64::from_le_bytes(frames[24..32].try_into().expect("eight bytes"));
    assert_ne!(next, handle);
    stream.write_all(&frame(1, handle, &[7; 100_000])).expect("written");
    stream.write_all(&frame(1, next, b"of generation 2")).expect("written");
    new.expect(Data, b"of generation 2");
    assert_eq!(a.stats().frames_dropped, 1);
}

#[test]
fn who_is_not_meant_or_says_nonsense_is_refused() {
    let a = exchange();
    let other = "9.9.9.9:9";
    let hellos = [
        hello(PEER, "127.0.0.1:1"),
        hello(other, a.address()),
        hello(a.address(), a.address()),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"SKEX\x02\x00".to_vec(),
        b"SKEX\x01\x00\xff\xff".to_vec(),
        [b"SKEX\x01\x00\x02\x00", &b"\xff\xfe\x00\x00"[..]].concat(),
    ];
    for hello in hellos {
        let mut stream = TcpStream::connect(a.address()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(&hello).expect("written");
        let mut answer = Vec::new();
        // With bytes unread, closing resets.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{hello:?}");
    }
    assert_eq!(a.stats().connections, 0);
}

#[test]
fn who_connects_anew_takes_the_place_of_its_old_connection() {
    let a = exchange();
    let (mut old, _stream, _) = victim(&a, 1);
    let _new = connect(&a);
    let error = old.try_receive().expect_err("lost").to_string();
    assert!(error.contains("anew"), "{error}");
    eventually("the new one is there", || a.stats().connections == 1);
}

fn nonsense() -> impl Strategy<Value = Vec<u8>> {
    let payload = || prop::collection::vec(any::<u8>(), 0..80);
    let any_frame =
        (0u8..8, 0u64..4, payload()).prop_map(|(kind, handle, bytes)| frame(kind, handle, &bytes));
    let open =
        (0u64..4, prop::collection::vec(any::<u8>(), 44..=44)).prop_map(|(h, bytes)| frame(3, h, &bytes));
    let grant = (0u64..4, any::<u64>()).prop_map(|(handle, bytes)| frame(4, handle, &bytes.to_le_bytes()));
    let piece = prop_oneof![any_frame, open, grant, payload()];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

#[test]
fn nonsense_does_no_harm_to_others() {
    let (a, b) = (exchange(), exchange());
    let (mut to_b, mut at_b) = pair(&a, &b, channel(1, 0), CAPACITY);
    let (mut to_a, mut at_a) = pair(&b, &a, channel(1, 1), CAPACITY);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    let generation = std::cell::Cell::new(10);
    runner
        .run(&nonsense(), |bytes| {
            generation.set(generation.get() + 1);
            let (mut receiver, mut stream, _) = victim(&a, generation.get());
            let _ = stream.write_all(&bytes);
            drop(stream);
            while receiver.try_receive().is_ok() {}
            Ok(())
        })
        .expect("no harm");
    to_b.data(b"still here");
    at_b.expect(Data, b"still here");
    to_a.data(b"still here");
    at_a.expect(Data, b"still here");
    assert_eq!(b.stats().connections, 1);
}
