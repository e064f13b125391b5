//! A server beside the models.

use std::time::{Duration, Instant};

use streamkeeper_keeper::client::Error;

use super::sheet::Line;
use crate::probe::{self, connect, median, read_latencies, scratch, write_latencies};

/// What a session is asked for: that of a cluster.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a watch may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The latency of writes, beside that of reads.
pub(super) fn zab(server: &str) -> Result<Vec<Line>, Error> {
    let mut client = connect(server, SESSION_TIMEOUT)?;
    let (reads, writes) = (read_latencies(&mut client, "/")?, write_latencies(&mut client, "/")?);
    client.close()?;
    let (read, write) = (median(&reads), median(&writes));
    let line = |what: String, value: f64, note| Line::number(what, Some(value), "ms", note);
    Ok(vec![
        line(
            format!("read, median of {}", probe::SAMPLES),
            read,
            "answered from memory: the round trip to the server",
        ),
        line(format!("write, median of {}", probe::SAMPLES), write, ""),
        line("write, fastest".into(), writes.first().copied().unwrap_or(0.0), ""),
        line("write, slowest".into(), writes.last().copied().unwrap_or(0.0), ""),
        line("commit = write - read".into(), (write - read).max(0.0), "beside the model's commit"),
    ])
}

/// How soon the second candidate of a latch knows that the first has gone.
pub(super) fn election(server: &str) -> Result<Vec<Line>, Error> {
    let (mut first, mut second) = (connect(server, SESSION_TIMEOUT)?, connect(server, SESSION_TIMEOUT)?);
    let (granted, mut taken) = (second.session_timeout(), Vec::new());
    for _ in 0..5 {
        let (leader, standby) = (scratch(&mut first, "/")?, scratch(&mut second, "/")?);
        second.exists(&leader, true)?;
        let begin = Instant::now();
        first.delete(&leader, -1)?;
        let told = second.notification(PATIENCE)?;
        taken.push(begin.elapsed().as_secs_f64() * 1000.0);
        second.delete(&standby, -1)?;
        if told.is_none() {
            return Err(Error::TimedOut(PATIENCE));
        }
    }
    first.close()?;
    second.close()?;
    taken.sort_by(f64::total_cmp);
    let note = "from the deletion of the lowest sequence number until the next one is told, median of 5";
    let asked = SESSION_TIMEOUT.as_millis();
    let granted = granted.as_secs_f64() * 1000.0;
    Ok(vec![
        Line::number("handover", Some(median(&taken)), "ms", note),
        Line::number(format!("session timeout granted for {asked} ms"), Some(granted), "ms", ""),
    ])
}

/// An ephemeral sequential znode as it is.
pub(super) fn znode(server: &str) -> Result<Vec<Line>, Error> {
    let mut client = connect(server, SESSION_TIMEOUT)?;
    let path = scratch(&mut client, "/")?;
    client.set_data(&path, Some(b"changed"), 0)?;
    let stat = client.exists(&path, false)?.unwrap_or_default();
    let owner = client.session().id;
    client.delete(&path, 1)?;
    client.close()?;
    let stat = format!(
        "<czxid {:#x}, mzxid {:#x}, version {}, ephemeralOwner {:#x}, dataLength {}>",
        stat.czxid, stat.mzxid, stat.version, stat.ephemeral_owner, stat.data_length
    );
    Ok(vec![
        Line::text("path", path, "created as streamkeeper-probe-, ephemeral and sequential"),
        Line::text("stat after a setData", stat, ""),
        Line::text("our session", format!("{owner:#x}"), ""),
    ])
}
