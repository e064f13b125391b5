//! Where bytes from outside come in: one function for each way, for the fuzz targets and for the short run in the tests.
//!
//! None may panic, whatever the bytes are, nor take much more memory than the input has bytes.

#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use streamkeeper_keeper::authentication::{Authentication, SaslSettings};
use streamkeeper_keeper::config::{Config, Secret, properties};
use streamkeeper_keeper::core::{Core, CoreOptions, Now};
use streamkeeper_keeper::jute::{Reader, Write};
use streamkeeper_keeper::proto::{ConnectRequest, Request};
use streamkeeper_keeper::sasl::{SaslClient, SaslServer};
use streamkeeper_keeper::server::framing::{Input, Item};
use streamkeeper_keeper::storage::sim::SimDisk;
use streamkeeper_keeper::storage::{LogReader, snapshot_reader};
use streamkeeper_keeper::tree::Tree;
use streamkeeper_keeper::txn::LoggedTxn;
use streamkeeper_keeper::x509;

/// A server in memory, with SASL and quotas on.
fn server() -> Core {
    let users = BTreeMap::from([("bob".to_owned(), Secret("pw".to_owned()))]);
    let sasl = SaslSettings { users, super_users: vec!["bob".to_owned()], allow_failed: true };
    let mut options = CoreOptions {
        authentication: Authentication {
            sasl: Some(sasl),
            ensemble_names: Some(vec!["e".to_owned()]),
            ..Authentication::default()
        },
        ..CoreOptions::default()
    };
    options.prep.enforce_quota = true;
    options.prep.reconfig_enabled = true;
    Core::new(Tree::new(true), BTreeMap::new(), options, Now { monotonic_ms: 1, wall_ms: 1 })
}

/// A first packet that asks for a new session.
pub(crate) fn connect_frame() -> Vec<u8> {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 10_000,
        session_id: 0,
        passwd: &[0; 16],
        read_only: Some(false),
    };
    let mut frame = Vec::new();
    request.write(&mut frame);
    frame
}

/// Packets of clients. Each is preceded by a byte that says whose it is and what else happens, and two of its length; the input's
/// first byte says whether clients have sessions already.
pub(crate) fn requests(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let mut core = server();
    let mut clients = [0; 3];
    for (at, client) in clients.iter_mut().enumerate() {
        *client = core.open([127, 0, 0, 1].into(), 1, false, &[]);
        if first >> at & 1 == 0 {
            core.packet(*client, &connect_frame());
        }
    }
    let mut now = Now { monotonic_ms: 1, wall_ms: 1 };
    while let Some(([control, high, low], more)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (frame, more) = more.split_at(length);
        rest = more;
        let client = &mut clients[usize::from(control & 3).min(2)];
        match control >> 2 & 7 {
            0 => core.oversized_packet(*client, &frame[..frame.len().min(8)]),
            1 => {
                core.closed(*client);
                *client = core.open([127, 0, 0, 1].into(), 1, false, &[]);
                core.packet(*client, frame);
            }
            _ => core.packet(*client, frame),
        }
        // Sometimes several requests are on their way at once.
        if control & 0x20 == 0 {
            commit(&mut core, control & 0x40 != 0);
        }
        if control & 0x80 != 0 {
            now.monotonic_ms += 20_000;
            now.wall_ms += 20_000;
            core.set_now(now);
            core.tick();
        }
    }
    commit(&mut core, false);
    core.close_session(1);
    for id in clients {
        core.closed(id);
    }
    now.monotonic_ms += 1_000_000;
    core.set_now(now);
    core.tick();
    commit(&mut core, false);
    assert_eq!(core.sessions().len(), 0, "all sessions have expired");
    assert!(core.watches().is_empty(), "nobody is there that watches");
    assert_eq!(core.tree().ephemerals_count(), 0, "no session is there that owns them");
    assert_eq!(core.counters().digest_mismatches, 0);
    let known: BTreeSet<&i32> = core.counters().requests_by_op.keys().collect();
    assert!(known.len() < 50, "requests are counted by types that are none: {known:?}");
}

fn commit(core: &mut Core, fails: bool) {
    if let Some(proposals) = core.take_proposals() {
        if fails {
            core.log_failed();
            return core.set_read_only(false);
        }
        for (zxid, bytes) in proposals.iter() {
            LoggedTxn::read(bytes).expect("what is logged can be read again");
            core.committed(zxid);
        }
    }
    for id in core.take_dirty() {
        if let Some(out) = core.output(id) {
            // As a client sees it.
            let mut rest = &out[..];
            while let Some((length, more)) = rest.split_first_chunk() {
                rest = &more[i32::from_be_bytes(*length) as usize..];
            }
            assert!(rest.is_empty(), "answers are whole");
            out.clear();
        }
        if core.connection(id).is_some_and(|client| client.phase == streamkeeper_keeper::core::Phase::Closing)
        {
            core.closed(id);
        }
    }
}

/// A request's body, and a transaction of the log.
pub(crate) fn transactions(data: &[u8]) {
    let Some((op, body)) = data.split_first() else { return };
    if let Ok(Some(request)) = Request::read(i32::from(*op as i8), &mut Reader::new(body)) {
        let mut bytes = Vec::new();
        request.write(&mut bytes);
        let again = Request::read(request.op(), &mut Reader::new(&bytes));
        // Within a multi the flags decide what a create is, and some of it cannot be said again.
        assert!(matches!(request, Request::Multi(_)) || matches!(again, Ok(Some(_))), "{request:?}");
    }
    if let Ok(logged) = LoggedTxn::read(body) {
        let mut bytes = Vec::new();
        logged.write(&mut bytes);
        // A closeSession's rest may read as a digest or as paths: there is no telling.
        let _ = LoggedTxn::read(&bytes);
        let mut tree = Tree::new(true);
        tree.apply(&logged.header, logged.txn.clone(), |_| {});
        tree.apply(&logged.header, logged.txn, |_| {});
        let _ = tree.removable(i64::MAX, 1);
    }
}

/// The checksum of a transaction's bytes in a log (Adler-32).
fn adler(bytes: &[u8]) -> i64 {
    let step = |(low, high): (u32, u32), byte: &u8| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    };
    let (low, high) = bytes.iter().fold((1, 0), step);
    i64::from(high << 16 | low)
}

/// A log, and another one whose checksums are right: its entries' lengths are taken as they come.
pub(crate) fn log_file(data: &[u8]) {
    let read = |bytes: &[u8]| {
        let disk = SimDisk::new();
        disk.put(Path::new("/log.1"), bytes);
        let mut tree = Tree::new(true);
        let Ok(mut log) = LogReader::open(Arc::new(disk), Path::new("/"), 0) else { return };
        while let Ok(Some(logged)) = log.next() {
            tree.apply(&logged.header, logged.txn, |_| {});
        }
        let _ = log.repair();
    };
    read(data);
    let mut sound = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
    let mut rest = data;
    let mut zxid = 0;
    while let Some(([control, length], more)) = rest.split_first_chunk() {
        let (body, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        zxid += i64::from(control & 3);
        let mut txn = Vec::new();
        txn.long(i64::from(control >> 6));
        txn.int(0);
        txn.long(zxid);
        txn.long(0);
        txn.extend_from_slice(body);
        sound.long(adler(&txn));
        sound.buffer(Some(&txn));
        sound.push(b'B');
    }
    read(&sound);
}

/// A snapshot, as it is and in both compressed forms.
pub(crate) fn snapshot(data: &[u8]) {
    let Some((form, data)) = data.split_first() else { return };
    let path = Path::new(["/snapshot.1", "/snapshot.1.gz", "/snapshot.1.snappy"][usize::from(form % 3)]);
    let disk = SimDisk::new();
    disk.put(path, data);
    if let Ok(snapshot) = snapshot_reader::read(&disk, path, form & 0x10 == 0) {
        let _ = snapshot.tree.removable(i64::MAX, 1);
        let _ = snapshot.tree.quotas().count();
        let sessions: Vec<_> = snapshot.sessions.into_iter().collect();
        let frozen = snapshot.tree.freeze();
        let dir = Path::new("/");
        streamkeeper_keeper::storage::snapshot::write(&disk, dir, &frozen, &sessions, Default::default())
            .expect("what was read can be written");
    }
}

/// A configuration. Names of files are left out: these are read.
pub(crate) fn zoo_cfg(data: &[u8]) {
    let Ok(entries) = properties::parse(data) else { return };
    let pairs = entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str()));
    let no_file = |key: &str| {
        let key = key.to_ascii_lowercase();
        !["dir", "file", "location", "path", "jaas", "config"].iter().any(|part| key.contains(part))
    };
    let pairs = pairs.filter(|(key, _)| no_file(key));
    if let Ok((config, warnings)) = Config::from_pairs(pairs.chain([("dataDir", "/nonexistent")])) {
        let _ = config.core_options();
        warnings.iter().for_each(|warning| drop(warning.to_string()));
    }
}

/// The bytes of a connection, in pieces; the first byte is the pieces' length.
pub(crate) fn first_bytes(data: &[u8]) {
    const LIMIT_BYTES: usize = 64;
    let Some((step, data)) = data.split_first() else { return };
    let step = usize::from(*step).max(1);
    let mut input = Input::default();
    for piece in data.chunks(step) {
        input.feed(piece, LIMIT_BYTES, streamkeeper_keeper::four_letter::is_command, |item| match item {
            Item::Packet(packet) => assert!(packet.len() <= LIMIT_BYTES),
            Item::Oversized(header, length) => assert!(header.len() <= 8 && length > header.len()),
            Item::Command(..) | Item::Garbage => {}
        });
        assert!(input.held_bytes() < LIMIT_BYTES + 4);
    }
    let _ = streamkeeper_keeper::tls::is_tls_client_hello(data);
}

/// A SASL token of a client, and a challenge of a server.
pub(crate) fn sasl(data: &[u8]) {
    let users = BTreeMap::from([("bob".to_owned(), Secret("pw".to_owned()))]);
    let mut server = SaslServer::default();
    let challenge = server.step(b"", &users, || "nonce".to_owned()).expect("a challenge");
    let _ = server.step(data, &users, String::new);
    let mut client = SaslClient::new("bob", "pw");
    let _ = client.respond(data, "cnonce");
    client.respond(&challenge.token, "cnonce").expect("our own challenge");
    assert!(client.finish(data).is_err(), "a proof that was made up");
}

/// A client's certificate.
pub(crate) fn certificate(data: &[u8]) {
    let _ = x509::identities(data, Some("CN=super"));
    let _ = x509::subject_name(data);
    let _ = x509::is_name(&String::from_utf8_lossy(data));
}
