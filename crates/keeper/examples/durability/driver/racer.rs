//! A client that asks for one thing at a time of znodes that others write as well, and notes when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
use streamkeeper_keeper::client::{Answer, Client, Create, Reply, create_request};
use streamkeeper_keeper::proto::{Code, Request};

use super::random::Random;
use super::register::{Ask, Event, State, Told};
use super::wgl::Operation;
use super::world::{Stop, World, client_options, wrong};

/// The racers' znodes are below this one; it must be there.
pub(crate) const BASE: &str = "/races";
/// Znodes raced for at once.
const ZNODES: u64 = 2;
/// After so many operations others are raced for: a history of any length could not be checked.
const OPERATIONS: u64 = 4000;
const TIMEOUT: Duration = Duration::from_secs(40);

/// An operation, and the number of the znode that it was on.
pub(crate) type Record = (u64, Operation<Event>);

struct Racer<'a> {
    world: &'a World,
    random: Random,
    client: Client,
    life: usize,
    /// The znode asked for last, and the version that it had then.
    seen: (u64, i32),
    next_data: u32,
    records: Vec<Record>,
}

/// Races until the end. `operations`: how many all racers have done.
pub(crate) fn run(world: &World, number: u32, operations: &AtomicU64) -> Result<Vec<Record>, Stop> {
    let (client, life) = world.connect(None, &client_options(TIMEOUT, None, 0))?;
    let mut racer = Racer {
        world,
        random: Random::of_parts(world.seed, 1000 + u64::from(number)),
        client,
        life,
        seen: (0, -1),
        next_data: number << 24,
        records: Vec::new(),
    };
    while !world.is_over() {
        let round = operations.fetch_add(1, Ordering::Relaxed) / OPERATIONS;
        let znode = round * ZNODES + racer.random.next() % ZNODES;
        racer.race(znode)?;
    }
    Ok(racer.records)
}

impl Racer<'_> {
    fn race(&mut self, znode: u64) -> Result<(), Stop> {
        self.next_data += 1;
        let version = if self.seen.0 == znode { self.seen.1 } else { -1 };
        let ask = match self.random.below(20) {
            0..7 => Ask::Get,
            7..11 => Ask::Set(self.next_data, -1),
            11..15 => Ask::Set(self.next_data, version),
            15..18 => Ask::Create(self.next_data),
            _ => Ask::Delete(self.random.of(&[-1, version])),
        };
        let newest_before = self.world.newest_zxid();
        let called = self.now();
        let (told, returned) = match self.ask(znode, ask) {
            Ok((told, zxid)) => {
                let returned = self.now();
                if ask != Ask::Get {
                    self.world.wrote(zxid, newest_before)?;
                } else if zxid < newest_before {
                    return wrong(format!(
                        "a read after sync saw 0x{zxid:x}, when 0x{newest_before:x} was known"
                    ));
                }
                (told, returned)
            }
            Err(Stop::Lost) => {
                let (session, zxid) = (self.client.session().clone(), self.client.last_zxid());
                let options = client_options(TIMEOUT, Some(session), zxid);
                let lost = self.life;
                (self.client, self.life) = self.world.connect(Some(lost), &options)?;
                let died = self.world.death_of(lost).unwrap_or_else(Instant::now);
                (Told::Nothing, self.nanos(died))
            }
            Err(stop) => return Err(stop),
        };
        match told {
            Told::Done(version) | Told::Saw(Some((_, version))) => self.seen = (znode, version),
            _ => {}
        }
        if (ask, told) != (Ask::Get, Told::Nothing) {
            self.records.push((znode, Operation { called, returned, what: (ask, told) }));
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        self.nanos(Instant::now())
    }

    fn nanos(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.world.began).as_nanos()).unwrap_or(u64::MAX)
    }

    fn ask(&mut self, znode: u64, ask: Ask) -> Result<(Told, i64), Stop> {
        let path = format!("{BASE}/{znode}");
        let data;
        let request = match ask {
            Ask::Create(number) => {
                data = number.to_string();
                let acl = OPEN_ACL_UNSAFE.clone();
                create_request(&path, Some(data.as_bytes()), acl, Create::Persistent, false)
            }
            Ask::Set(number, version) => {
                data = number.to_string();
                Request::SetData { path: path.as_str().into(), data: Some(data.as_bytes()), version }
            }
            Ask::Delete(version) => Request::Delete { path: path.as_str().into(), version },
            Ask::Get => {
                self.client.send(&Request::Sync { path: path.as_str().into() })?;
                Request::GetData { path: path.as_str().into(), watch: false }
            }
        };
        self.client.send(&request)?;
        if ask == Ask::Get {
            self.client.receive()?;
        }
        let reply = self.client.receive()?;
        Ok((told(ask, &reply)?, reply.zxid))
    }
}

fn told(ask: Ask, reply: &Reply) -> Result<Told, Stop> {
    Ok(match (Code::from_int(reply.err), &reply.answer, ask) {
        (Some(Code::Ok), Answer::Stat(stat), Ask::Set(..)) => Told::Done(stat.version),
        (Some(Code::Ok), Answer::Path(_), Ask::Create(_))
        | (Some(Code::Ok), Answer::None, Ask::Delete(_)) => Told::Done(0),
        (Some(Code::Ok), Answer::Data(data, stat), Ask::Get) => {
            Told::Saw(saw(data.as_deref(), stat.version)?)
        }
        (Some(Code::NoNode), _, Ask::Get) => Told::Saw(None),
        (Some(Code::NoNode), _, Ask::Set(..) | Ask::Delete(_)) => Told::Missing,
        (Some(Code::NodeExists), _, Ask::Create(_)) => Told::Exists,
        (Some(Code::BadVersion), _, Ask::Set(..) | Ask::Delete(_)) => Told::OtherVersion,
        _ => return wrong(format!("{ask:?} was answered {reply:?}")),
    })
}

fn saw(data: Option<&[u8]>, version: i32) -> Result<State, Stop> {
    let number = data.and_then(|data| std::str::from_utf8(data).ok()).and_then(|text| text.parse().ok());
    match number {
        Some(number) => Ok(Some((number, version))),
        None => wrong(format!("nobody wrote {data:?}")),
    }
}
