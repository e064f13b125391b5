//! A few looks at a ZooKeeper server, for those who measure or diagnose: its latencies. What is created is ephemeral and removed again.

use std::time::{Duration, Instant};

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::client::{Client, Create, Error, Options};

/// How long a server may take for each answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many requests a latency is taken from.
pub(crate) const SAMPLES: usize = 20;

/// What [`write_latencies`] writes.
const PAYLOAD: [u8; 16] = [b'x'; 16];

/// A session at one of the servers, which is not kept longer than this needs.
pub(crate) fn connect(servers: &str, session_timeout: Duration) -> Result<Client, Error> {
    let options = Options {
        timeout: session_timeout,
        connect_timeout: PATIENCE,
        request_timeout: PATIENCE,
        ..Options::default()
    };
    Client::connect_with(servers, options)
}

/// Milliseconds that [`SAMPLES`] writes took, one after the other, in order of size: `setData` of an ephemeral znode below `parent`.
pub(crate) fn write_latencies(client: &mut Client, parent: &str) -> Result<Vec<f64>, Error> {
    let path = scratch(client, parent)?;
    let measured = sorted(|| client.set_data(&path, Some(&PAYLOAD), -1).map(drop));
    client.delete(&path, -1)?;
    measured
}

/// Milliseconds that as many reads took, which the server answers from memory: the round trip.
pub(crate) fn read_latencies(client: &mut Client, path: &str) -> Result<Vec<f64>, Error> {
    sorted(|| client.exists(path, false).map(drop))
}

/// An ephemeral znode with a number at the end of its name; its path.
pub(crate) fn scratch(client: &mut Client, parent: &str) -> Result<String, Error> {
    let parent = if parent == "/" { "" } else { parent };
    let path = format!("{parent}/streamkeeper-probe-");
    client.create(&path, Some(&PAYLOAD), OPEN_ACL_UNSAFE.clone(), Create::EphemeralSequential)
}

fn sorted(mut once: impl FnMut() -> Result<(), Error>) -> Result<Vec<f64>, Error> {
    let mut taken = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let begin = Instant::now();
        once()?;
        taken.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

/// The middle of sorted values; 0 without any.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => 0.0,
        (middle, 0) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (middle, _) => sorted[middle],
    }
}

/// What a server makes of the session timeout that it is asked for: at least 2 ticks and at most 20, unless `minSessionTimeout` and
/// `maxSessionTimeout` say otherwise.
pub(crate) fn negotiated(asked: Duration, tick: Duration) -> Duration {
    asked.clamp(tick * 2, tick * 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!((median(&[]), median(&[3.0]), median(&[1.0, 2.0, 9.0])), (0.0, 3.0, 2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    }

    #[test]
    fn session_timeouts_are_between_2_and_20_ticks() {
        let of = |asked| negotiated(Duration::from_millis(asked), Duration::from_secs(2)).as_millis();
        assert_eq!((of(100), of(10_000), of(60_000)), (4_000, 10_000, 40_000));
    }

    #[test]
    fn a_server_is_measured_and_left_as_it_was() {
        use streamkeeper_keeper::server::{Keeper, ServerOptions};
        let keeper = Keeper::start(ServerOptions::default()).expect("a keeper");
        let server = keeper.client_address().expect("an address").to_string();
        let mut client = connect(&server, Duration::from_secs(4)).expect("a session");
        let writes = write_latencies(&mut client, "/").expect("written");
        assert!(writes.len() == SAMPLES && writes.is_sorted());
        assert_eq!(read_latencies(&mut client, "/").expect("read").len(), SAMPLES);
        assert_eq!(client.get_children("/", false).expect("children"), ["zookeeper"]);
    }
}
