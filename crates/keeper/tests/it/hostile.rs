//! Bytes that no honest client, file or configuration holds: a short, seeded run of the fuzz targets' functions.

#[path = "../../fuzz/entries.rs"]
mod entries;

use std::io::Read as _;
use std::path::Path;

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::jute::Write;
use streamkeeper_keeper::proto::{CreateRequest, Request, SetWatches, op};
use streamkeeper_keeper::storage::sim::SimDisk;
use streamkeeper_keeper::storage::snapshot::{self, Compression};
use streamkeeper_keeper::storage::{Disk, TxnLog};
use streamkeeper_keeper::tree::Tree;
use streamkeeper_keeper::txn::{CreateKind, CreateTxn, LoggedTxn, Txn, TxnDigest, TxnHeader};

/// How many mutated inputs each function is fed.
const COUNT: usize = 2000;

/// A small generator of random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Changes some of the bytes: flips, lengths that lie, parts left out, doubled, or taken from another input.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 => {
                let value = [0u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fffe][random.below(6)];
                if let Some(four) = bytes.get_mut(at..at + 4) {
                    four.copy_from_slice(&value.to_be_bytes());
                }
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..at + random.below(bytes.len() - at + 1))),
            5 => {
                let part = bytes[at..at + random.below(bytes.len() - at + 1)].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let from = random.below(other.len());
                let part = &other[from..from + random.below(other.len() - from + 1)];
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
}

/// The corpus that the fuzzer has found.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Feeds a function valid inputs, the corpus, and mutations of both, always the same ones in the same order.
fn feed(target: &str, function: fn(&[u8]), valid: &[Vec<u8>]) {
    let inputs = [valid, &corpus(target)].concat();
    inputs.iter().for_each(|input| function(input));
    let mut random = Random(7);
    for _ in 0..COUNT {
        let mut input = inputs[random.below(inputs.len())].clone();
        mutate(&mut input, &inputs[random.below(inputs.len())], &mut random);
        function(&input);
    }
}

/// One request of each kind.
fn requests() -> Vec<Vec<u8>> {
    let create = |op, path: &'static str, flags, ttl_ms| {
        Request::Create(CreateRequest {
            op,
            path: path.into(),
            data: Some(b"data"),
            acl: OPEN_ACL_UNSAFE.clone(),
            flags,
            ttl_ms,
        })
    };
    let limits = Request::Create(CreateRequest {
        op: op::CREATE,
        path: "/zookeeper/quota/a/zookeeper_limits".into(),
        data: Some(b"count=9223372036854775807,bytes=1=;countHardLimit=3"),
        acl: OPEN_ACL_UNSAFE.clone(),
        flags: 0,
        ttl_ms: -1,
    });
    let paths = || vec!["/a".into(), "/b".into()];
    let all = [
        create(op::CREATE, "/a", 0, -1),
        create(op::CREATE2, "/a/e-", 3, -1),
        create(op::CREATE_CONTAINER, "/c", 4, -1),
        create(op::CREATE_TTL, "/t", 5, 1000),
        create(op::CREATE, "/zookeeper/quota/a", 0, -1),
        limits,
        create(op::CREATE, "/zookeeper/quota/a/zookeeper_stats", 0, -1),
        Request::SetData {
            path: "/zookeeper/quota/a/zookeeper_stats".into(),
            data: Some(b"count=9223372036854775807,bytes=-9223372036854775808"),
            version: -1,
        },
        Request::SetData { path: "/a".into(), data: Some(b"x"), version: -1 },
        Request::SetAcl { path: "/a".into(), acl: OPEN_ACL_UNSAFE.clone(), version: -1 },
        Request::Multi(vec![
            create(op::CREATE, "/m", 1, -1),
            Request::Check { path: "/m".into(), version: 0 },
            Request::Delete { path: "/m".into(), version: 0 },
        ]),
        Request::MultiRead(vec![
            Request::GetData { path: "/a".into(), watch: false },
            Request::GetChildren { path: "/".into(), watch: false, with_stat: false },
        ]),
        Request::Exists { path: "/x".into(), watch: true },
        Request::GetData { path: "/a".into(), watch: true },
        Request::GetChildren { path: "/a".into(), watch: true, with_stat: true },
        Request::GetAcl { path: "/a".into() },
        Request::GetAllChildrenNumber { path: "/".into() },
        Request::GetEphemerals { prefix: None },
        Request::Sync { path: "/".into() },
        Request::Ping,
        Request::AddWatch { path: "/".into(), mode: 1 },
        Request::CheckWatches { path: "/".into(), kind: 3 },
        Request::RemoveWatches { path: "/".into(), kind: 3 },
        Request::SetWatches(SetWatches {
            relative_zxid: 1,
            data: paths(),
            exist: paths(),
            child: paths(),
            persistent: paths(),
            persistent_recursive: paths(),
        }),
        Request::WhoAmI,
        Request::Auth { scheme: "digest".into(), auth: b"u:p" },
        Request::Sasl { token: b"" },
        Request::Reconfig,
        Request::DeleteContainer { path: "/c".into() },
        Request::Delete { path: "/a".into(), version: -1 },
        Request::CloseSession,
    ];
    let bodies = all.iter().enumerate().map(|(at, request)| {
        let mut frame = Vec::new();
        frame.int(at as i32);
        frame.int(request.op());
        request.write(&mut frame);
        frame
    });
    bodies.collect()
}

#[test]
fn requests_and_sequences_of_packets() {
    let frames = requests();
    let packet =
        |control: u8, frame: &[u8]| [&[control], &(frame.len() as u16).to_be_bytes()[..], frame].concat();
    let mut sequences: Vec<Vec<u8>> = Vec::new();
    for control in [0x08, 0x28, 0x09, 0x88, 0x68] {
        let packets: Vec<u8> = frames.iter().flat_map(|frame| packet(control, frame)).collect();
        sequences.push([&[0][..], &packets].concat());
    }
    let connect = packet(0x08, &entries::connect_frame());
    sequences.push([&[7][..], &connect, &packet(0x08, &frames[0])].concat());
    feed("requests", entries::requests, &sequences);
}

fn transactions() -> Vec<Vec<u8>> {
    let create = |kind| {
        let (path, data) = ("/a".into(), Some(Box::from(&b"x"[..])));
        Txn::Create(CreateTxn {
            kind,
            path,
            data,
            acl: OPEN_ACL_UNSAFE.clone(),
            ephemeral: false,
            parent_cversion: 3,
        })
    };
    let all = [
        create(CreateKind::Plain),
        create(CreateKind::Ttl(1000)),
        Txn::SetAcl { path: "/a".into(), acl: OPEN_ACL_UNSAFE.clone(), version: 1 },
        Txn::CloseSession { paths: Some(vec!["/e".into(), "/f".into()]) },
        Txn::Multi(vec![create(CreateKind::Container), Txn::Error(-2)]),
    ];
    let digest = Some(TxnDigest { version: 2, tree_digest: 99 });
    let encoded = all.into_iter().zip(1..).map(|(txn, zxid)| {
        let mut bytes = Vec::new();
        let header = TxnHeader { client_id: 1, cxid: 2, zxid, time_ms: 4 };
        LoggedTxn { header, txn, digest }.write(&mut bytes);
        bytes
    });
    encoded.collect()
}

#[test]
fn requests_and_transactions_alone() {
    let with_op = |op: i32, bytes: &[u8]| [&[op as u8], bytes].concat();
    let mut inputs: Vec<Vec<u8>> = transactions().iter().map(|bytes| with_op(0, bytes)).collect();
    inputs.extend(requests().iter().map(|frame| [&frame[7..8], &frame[8..]].concat()));
    feed("transactions", entries::transactions, &inputs);
}

#[test]
fn logs() {
    let disk = SimDisk::new();
    let mut log = TxnLog::new(std::sync::Arc::new(disk.clone()), Path::new("/"), 0, Default::default());
    for (zxid, txn) in (1..).zip(transactions()) {
        log.append(zxid, &txn).unwrap();
    }
    log.roll().unwrap();
    let whole = disk.bytes(Path::new("/log.1")).unwrap();
    // The second reading makes a sound log of short parts, each with a number in front.
    let parts = transactions().into_iter().flat_map(|txn| {
        let body = &txn[28..];
        [&[1, body.len() as u8][..], body].concat()
    });
    feed("log_file", entries::log_file, &[whole, parts.collect()]);
}

#[test]
fn snapshots() {
    let mut tree = Tree::new(true);
    for bytes in transactions() {
        let LoggedTxn { header, txn, .. } = LoggedTxn::read(&bytes).unwrap();
        tree.apply(&header, txn, |_| {});
    }
    let disk = SimDisk::new();
    let forms = [Compression::None, Compression::Gzip, Compression::Snappy];
    let inputs = forms.iter().zip(0..).map(|(compression, form)| {
        let path =
            snapshot::write(&disk, Path::new("/"), &tree.freeze(), &[(1, 4000)], *compression).unwrap();
        let mut bytes = vec![form];
        disk.read(&path, 0).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    });
    feed("snapshot", entries::snapshot, &inputs.collect::<Vec<_>>());
}

#[test]
fn configurations() {
    let text = "tickTime=2000\nclientPort=2181\nserver.1=a:1:2;3\n4lw.commands.whitelist=*\n\
                autopurge.purgeInterval=3m\nmaxClientCnxns = 0\n# c\nssl.clientAuth:need\nzookeeper.x\\u0041=\\\n b\n";
    feed("zoo_cfg", entries::zoo_cfg, &[text.into()]);
}

#[test]
fn first_bytes_of_a_connection() {
    let mut bytes = vec![3];
    bytes.buffer(Some(&entries::connect_frame()));
    bytes.buffer(Some(&[0; 80]));
    feed("first_bytes", entries::first_bytes, &[bytes, b"\x04ruok".to_vec(), b"\x01stmk12345678".to_vec()]);
}

#[test]
fn sasl_tokens() {
    let token = "charset=utf-8,username=\"bob\",realm=\"zk-sasl-md5\",nonce=\"nonce\",nc=00000001,cnonce=\"c\",\
                 digest-uri=\"zookeeper/zk-sasl-md5\",maxbuf=65536,response=0,qop=auth,authzid=\"x\"";
    feed("sasl", entries::sasl, &[token.into()]);
}

#[test]
fn certificates() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().to_vec();
    feed("certificate", entries::certificate, &[certificate, b"CN=a,O=\\2c+OU=\"b\"".to_vec()]);
}
