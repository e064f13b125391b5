//! The power is taken from a whole server: core, log, snapshots and recovery over a simulated disk.
//!
//! For each change that the server makes to its disk (each write, sync, creation, renaming and removal) one life ends there. What was not
//! synced is there afterwards or not, as a seed decides. The next server must hold exactly the transactions up to one that is not older
//! than any that a client was told of, with the sessions as of that transaction.

mod life;
mod oracle;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use streamkeeper_keeper::storage::sim::SimDisk;
use streamkeeper_keeper::storage::{Disk, DiskFile};

use life::{Clients, Counts, End, Server};

const TURNS: usize = 36;
/// Of the life after the power loss.
const MORE_TURNS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// Answers before the log is synced.
    AnswersEarly,
    /// Does not sync directories.
    ForgetsNames,
}

/// A disk whose directories are never synced.
struct ForgetsNames(SimDisk);

impl Disk for ForgetsNames {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        self.0.len(path)
    }
    fn read(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        self.0.read(path, offset)
    }
    fn next_data(&self, path: &Path, offset: u64) -> io::Result<Option<u64>> {
        self.0.next_data(path, offset)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(path)
    }
    fn modify(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.modify(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_space(dir)
    }
}

fn start(disk: &SimDisk, clients: &mut Clients, defect: Defect) -> Result<Server, End> {
    let disk: Arc<dyn Disk> = match defect {
        Defect::ForgetsNames => Arc::new(ForgetsNames(disk.clone())),
        _ => Arc::new(disk.clone()),
    };
    Server::start(disk, clients, defect == Defect::AnswersEarly)
}

/// A life, its end at change number `stop`, and what comes after it.
fn stop_and_go_on(load: u64, stop: u64, loss: u64, defect: Defect) -> Result<Counts, String> {
    let only_power = |end| match end {
        End::Power => Ok(()),
        End::Wrong(what) => Err(what),
    };
    let disk = SimDisk::new();
    disk.stop_at(stop);
    let clients = &mut Clients::new(load);
    let lived = start(&disk, clients, defect).and_then(|mut server| clients.live(&mut server, TURNS));
    lived.or_else(only_power)?;

    // The next life may end early, even before the server is up.
    let disk = disk.power_loss(loss);
    disk.stop_at(stop.wrapping_mul(7).wrapping_add(loss) % 40);
    let lived = start(&disk, clients, defect).and_then(|mut server| clients.live(&mut server, MORE_TURNS));
    lived.or_else(only_power)?;

    let disk = disk.power_loss(loss + 1);
    let lived = start(&disk, clients, defect).and_then(|mut server| clients.live(&mut server, MORE_TURNS));
    lived.map_err(|end| format!("{end:?}"))?;
    start(&disk.power_loss(loss + 2), clients, defect).map_err(|end| format!("{end:?}"))?;
    Ok(clients.counts)
}

/// The number of changes in a whole life.
fn changes(load: u64) -> u64 {
    let (disk, clients) = (SimDisk::new(), &mut Clients::new(load));
    let lived = start(&disk, clients, Defect::None).and_then(|mut server| clients.live(&mut server, TURNS));
    lived.unwrap_or_else(|end| panic!("load {load}: {end:?}"));
    disk.operations()
}

fn stop_everywhere(load: u64, losses: u64, defect: Defect) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for stop in 0..=changes(load) {
        for loss in 0..losses {
            let counted = stop_and_go_on(load, stop, loss, defect)
                .map_err(|what| format!("load {load}, stopped at {stop}, loss {loss}: {what}"))?;
            counts.add(counted);
        }
    }
    Ok(counts)
}

#[test]
fn no_answered_write_is_lost_with_the_power() {
    let (loads, losses) = if cfg!(debug_assertions) { (2, 3) } else { (10, 10) };
    for load in 1..=loads {
        let counts = stop_everywhere(load, losses, Defect::None).unwrap_or_else(|what| panic!("{what}"));
        println!("load {load}: {counts:?}");
        assert!(counts.are_complete(), "{counts:?}");
    }
}

#[test]
fn servers_that_lose_something_are_caught() {
    for defect in [Defect::AnswersEarly, Defect::ForgetsNames] {
        let caught = stop_everywhere(1, 3, defect);
        let lost = |what: &String| what.contains("was recovered");
        assert!(caught.as_ref().is_err_and(lost), "{defect:?}: {caught:?}");
    }
}
