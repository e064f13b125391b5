//! Whatever is asked, the answer is JSON with the right status, and the server goes on.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use streamkeeper_cluster::RestOptions;

use super::client::{get, json as get_json, read, send, try_read};
use super::leader::{Served, submit};
use crate::jobs::{TestCluster, wait_for};

const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn what_is_not_there_or_makes_no_sense_is_refused() {
    let cluster = TestCluster::start();
    let logs = cluster.directory.path().join("log");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("jobmanager.log"), "a line\n").unwrap();
    std::fs::write(cluster.directory.path().join("hidden"), "a secret\n").unwrap();
    let options = RestOptions { log_directory: Some(logs), ..RestOptions::default() };
    let served = Served::with(&cluster, "jm", options);
    let at = served.address();
    served.wait_to_lead();
    let refused = |method: &str, path: &str, body: &[u8]| {
        let answer = send(at, method, path, body);
        let head = answer.head.to_ascii_lowercase();
        assert!(head.contains("content-type: application/json; charset=utf-8"), "{path}: {answer:?}");
        (answer.status, answer.error())
    };

    // Ids.
    for id in ["xyz", "0123", &"g".repeat(32), "%ff", "..%2f..", &"a".repeat(5000)] {
        let (status, error) = refused("GET", &format!("/jobs/{id}"), b"");
        assert_eq!((status, error.contains("parse") || error.contains("UTF-8")), (400, true), "{error}");
    }
    let quoted = refused("GET", "/jobs/xyz", b"").1;
    assert_eq!(
        quoted,
        "Bad request, could not parse parameters: Cannot resolve path parameter (jobid) from value \"xyz\"."
    );
    for rest in
        ["", "/status", "/plan", "/exceptions", "/checkpoints", "/metrics", "/vertices/x", "/savepoints/x"]
    {
        let (status, error) = refused("GET", &format!("/jobs/{UNKNOWN}{rest}"), b"");
        assert_eq!((status, error), (404, format!("Job {UNKNOWN} not found")), "{rest}");
    }
    assert_eq!(refused("GET", "/taskmanagers/nobody", b"").0, 404);
    assert_eq!(refused("GET", "/taskmanagers/nobody/metrics", b"").0, 404);
    assert_eq!(get(at, "/jobmanager/logs/jobmanager.log").text, "a line\n");
    assert_eq!(refused("GET", "/jobmanager/logs/..%2fhidden", b"").0, 404);
    assert_eq!(refused("GET", &format!("/v1/streamkeeper/jobs/{UNKNOWN}"), b"").0, 404);

    // Paths, methods and parameters.
    let nowhere = refused("GET", "/nonexistent", b"");
    assert_eq!(nowhere, (404, "Unable to load requested file /nonexistent.".into()));
    assert_eq!(refused("POST", "/v1/nonexistent/x", b"{}").0, 404);
    assert_eq!(refused("DELETE", "/jobs/overview", b"").0, 405);
    assert_eq!(refused("PUT", "/v1/streamkeeper/jobs", b"{}").0, 405);
    assert_eq!(refused("PATCH", &format!("/jobs/{UNKNOWN}?mode=cancel"), b"").0, 404);
    assert_eq!(refused("PATCH", &format!("/jobs/{UNKNOWN}?mode=burn"), b"").0, 400);
    assert_eq!(refused("PATCH", &format!("/jobs/{UNKNOWN}?mode=stop"), b"").0, 400);
    assert_eq!(refused("GET", "/jobs/metrics?agg=median", b"").0, 400);
    assert_eq!(refused("DELETE", "/cluster", b"").0, 501);

    // Bodies.
    let jobs = "/v1/streamkeeper/jobs";
    for body in ["", "{", "[]", "null", "{}", "{\"spec\": 1}", "{\"spec\": {\"name\": 1}}", "\u{fffd}"] {
        let (status, error) = refused("POST", jobs, body.as_bytes());
        assert_eq!((status, error.contains("submission")), (400, true), "{body}: {error}");
    }
    let other = json!({ "id": "xyz", "spec": { "name": "numbers", "kind": "program" } }).to_string();
    assert_eq!(refused("POST", jobs, other.as_bytes()).0, 400);
    let unknown = json!({ "ids": UNKNOWN, "spec": { "name": "numbers", "kind": "program" } }).to_string();
    assert_eq!(refused("POST", jobs, unknown.as_bytes()).0, 400);
    let (status, error) = refused("POST", jobs, &vec![b' '; (4 << 20) + 1]);
    assert_eq!((status, error.contains("limit")), (413, true), "{error}");
    let wrong = submit(at, None, "wrong", 1);
    assert_eq!((wrong.status, wrong.error().contains("there is no such table")), (400, true), "{wrong:?}");
    let large = json!({ "spec": { "name": "numbers", "kind": "program", "parallelism": 1, "statements": ["x".repeat(1 << 20)] } });
    assert_eq!(refused("POST", jobs, large.to_string().as_bytes()).0, 400, "no document is so large");
    assert_eq!(get_json(at, "/jobs"), json!({ "jobs": [] }), "nothing of it was taken");

    // What is no HTTP, and nothing at all.
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").unwrap();
    assert_eq!(read(stream).status, 400);
    // Who says nothing holds nobody up.
    let _silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(at).unwrap()).collect();
    assert_eq!(get(at, "/overview").status, 200);
}

#[test]
fn connections_on_which_nothing_happens_are_closed() {
    let cluster = TestCluster::start();
    let options = RestOptions { idleness_timeout: Duration::from_millis(50), ..RestOptions::default() };
    let served = Served::with(&cluster, "jm", options);
    served.wait_to_lead();
    // More than there are places.
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(served.address()).unwrap()).collect();
    // They make room, also for one who is slow himself.
    wait_for("an answer", || {
        let mut stream = TcpStream::connect(served.address()).unwrap();
        let sent = stream.write_all(b"GET /overview HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        sent.is_ok() && try_read(stream).is_some_and(|answer| answer.status == 200)
    });
    let mut half = TcpStream::connect(served.address()).unwrap();
    half.write_all(b"POST /v1/streamkeeper/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").unwrap();
    for mut stream in silent.into_iter().chain([half]) {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // The end, or an answer that says so and the end.
        let end = stream.read_to_end(&mut Vec::new());
        assert!(end.as_ref().map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |_| true), "{end:?}");
    }
}
