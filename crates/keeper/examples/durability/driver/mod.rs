//! The proof of durability: clients under load, a server that is killed again and again, and a look at what is there.
//!
//! - [`process`] and [`world`]: the server, and what all clients share
//! - [`writer`]: writes of its own znodes, with the [`model`] of what is due
//! - [`sessions`]: sessions that end and sessions that live on
//! - [`racer`]: writes of shared znodes, with histories of [`register`]s that are judged by [`wgl`]

pub(crate) mod model;
pub(crate) mod process;
pub(crate) mod racer;
pub(crate) mod random;
pub(crate) mod register;
pub(crate) mod sessions;
mod summary;
pub(crate) mod wgl;
pub(crate) mod world;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use process::{Process, Start};
use racer::Record;
use random::Random;
use register::{Told, check_register};
pub(crate) use summary::Summary;
use wgl::Stuck;
use world::{Stop, World, client_options};

/// What is done, and how long.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Decides the load, and when the server is killed.
    pub(crate) seed: u64,
    /// How often it is killed.
    pub(crate) kills: u64,
    /// Clients with znodes of their own; with them come the sessions that end.
    pub(crate) writers: u64,
    /// Clients that share znodes.
    pub(crate) racers: u32,
    /// How long a server lives, at least and at most.
    pub(crate) life: (Duration, Duration),
    /// Every so many kills, the server lives until sessions have expired.
    pub(crate) expiry_every: u64,
    /// A server must serve again in this time after it was killed.
    pub(crate) back_within: Duration,
}

/// How long it may take until sessions have expired.
const EXPIRY_WITHIN: Duration = Duration::from_secs(90);

/// Runs it all. The error says what is wrong.
pub(crate) fn run(options: &Options, address: &str, start: &Start) -> Result<Summary, String> {
    let world = World::new(address.to_owned(), options.seed, options.back_within);
    let failed: Mutex<Option<String>> = Mutex::default();
    let summary: Mutex<Summary> = Mutex::default();
    let records: Mutex<Vec<Record>> = Mutex::default();
    let operations = AtomicU64::new(0);
    let mut process = Process::start(start).map_err(|error| format!("cannot start the server: {error}"))?;
    let began = Instant::now();
    thread::scope(|scope| -> Result<(), String> {
        let at_work = AtWork { scope, world: &world, failed: &failed };
        let set_up = set_up(&world, options.writers);
        set_up.map_err(|stop| format!("cannot make the first znodes: {}", describe(stop)))?;
        for number in 0..options.writers {
            let summary = &summary;
            at_work.go(move |world| {
                let written = writer::run(world, number)?;
                lock(summary).add_written(written);
                Ok(())
            });
        }
        if options.writers > 0 {
            for work in [sessions::close, sessions::fall_silent] {
                let summary = &summary;
                at_work.go(move |world| {
                    let seen = work(world)?;
                    lock(summary).add_seen(seen);
                    Ok(())
                });
            }
        }
        for number in 0..options.racers {
            let (records, operations) = (&records, &operations);
            at_work.go(move |world| {
                let mut raced = racer::run(world, number, operations)?;
                lock(records).append(&mut raced);
                Ok(())
            });
        }
        let killed = kill_and_start(options, &world, &mut process, start, &summary);
        world.end();
        killed.map_err(|error| format!("kills are over: {error}"))
    })?;
    if let Some(what) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(what);
    }
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.seconds = began.elapsed().as_secs_f64();
    check_histories(records.into_inner().unwrap_or_else(PoisonError::into_inner), &mut summary)?;
    Ok(summary)
}

fn set_up(world: &World, writers: u64) -> Result<(), Stop> {
    let (mut client, _) = world.connect(None, &client_options(Duration::from_secs(30), None, 0))?;
    for path in
        [racer::BASE.to_owned(), sessions::BASE.to_owned()].into_iter().chain((0..writers).map(writer::base))
    {
        client.create_all(&path)?;
    }
    client.close()?;
    Ok(())
}

fn kill_and_start(
    options: &Options,
    world: &World,
    process: &mut Process,
    start: &Start,
    summary: &Mutex<Summary>,
) -> std::io::Result<()> {
    let random = &mut Random::of_parts(options.seed, 3000);
    let (shortest, longest) = options.life;
    let spread_ms = (longest - shortest).as_millis() as usize + 1;
    for kill in 1..=options.kills {
        let life = shortest + Duration::from_millis(random.below(spread_ms) as u64);
        // Some do not even come to serve anybody.
        let at_start = random.one_in(8).then(|| Duration::from_millis(random.below(30) as u64));
        world.pause(at_start.unwrap_or(life));
        if kill % options.expiry_every == 0 && options.writers > 0 {
            let (due, until) = (world.expired_so_far() + 2, Instant::now() + EXPIRY_WITHIN);
            while world.expired_so_far() < due && !world.is_over() && Instant::now() < until {
                world.pause(Duration::from_millis(20));
            }
            if world.expired_so_far() < due && !world.is_over() {
                return Err(std::io::Error::other("sessions that are silent do not expire"));
            }
        }
        if world.is_over() {
            return Ok(());
        }
        process.kill()?;
        world.died();
        *process = Process::start(start)?;
        let mut summary = lock(summary);
        summary.kills += 1;
        summary.kills_at_start += u64::from(at_start.is_some());
    }
    // What the last kill left is looked at as well.
    world.pause(longest);
    process.check()
}

/// Checks each znode's history.
fn check_histories(records: Vec<Record>, summary: &mut Summary) -> Result<(), String> {
    let mut histories: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for (znode, operation) in records {
        summary.operations += 1;
        summary.operations_unanswered += u64::from(operation.what.1 == Told::Nothing);
        histories.entry(znode).or_default().push(operation);
    }
    for (znode, history) in &mut histories {
        history.sort_by_key(|operation| operation.called);
        summary.histories += 1;
        let mut returned = 0;
        for operation in history.iter() {
            summary.operations_overlapping += u64::from(operation.called < returned);
            returned = returned.max(operation.returned);
        }
        match check_register(history) {
            Ok(()) => {}
            Err(Stuck::TooLong(steps)) => {
                return Err(format!(
                    "the history of {}/{znode} is still open after {steps} steps",
                    racer::BASE
                ));
            }
            Err(Stuck::NotLinearizable { ordered, at }) => {
                let begin = at.saturating_sub(20);
                let end = history.len().min(at + 10);
                let around: Vec<String> =
                    history[begin..end].iter().map(|one| format!("  {one:?}\n")).collect();
                return Err(format!(
                    "the history of {}/{znode} is not linearizable: {ordered} of {} operations in order; then there is no place for \
                     {:?}\n{}",
                    racer::BASE,
                    history.len(),
                    history[at],
                    around.concat()
                ));
            }
        }
    }
    Ok(())
}

/// Starts the clients' threads. The first that finds something wrong ends the run.
struct AtWork<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    world: &'env World,
    failed: &'env Mutex<Option<String>>,
}

impl<'scope, 'env> AtWork<'scope, 'env> {
    fn go(&self, work: impl FnOnce(&World) -> Result<(), Stop> + Send + 'scope) {
        let (world, failed) = (self.world, self.failed);
        self.scope.spawn(move || {
            if let Err(stop) = work(world) {
                lock(failed).get_or_insert(describe(stop));
                world.end();
            }
        });
    }
}

fn describe(stop: Stop) -> String {
    match stop {
        Stop::Lost => "a connection was lost where none may be".to_owned(),
        Stop::Wrong(what) => what,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
