//! `streamkeeper model`: formulas that are often told of ZooKeeper, those that hold, and what a server measures beside them.
//!
//! - `zab`, `election`, `znode`: the models (pure); `sheet`: how they are shown; `measure`: a server beside them

mod election;
mod measure;
mod sheet;
mod zab;
mod znode;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use self::election::Vote;
use self::sheet::Sheet;
use self::zab::Ensemble;
use crate::Failure;
use crate::run::print;

/// Ids of servers end here.
const MAX_SERVERS: usize = 255;

/// What `streamkeeper model` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  streamkeeper model zab --servers 5 --rtt 1 --fsync 2
  streamkeeper model zab --servers 3 --rtt 0.5,40 --fsync 2 --zookeeper localhost:2181
  streamkeeper model election --servers 3 --votes 1:0x100000007:1,1:0x100000005:3
  streamkeeper model znode --name /app/latch- --data-bytes 100

With --zookeeper a few ephemeral znodes are made below its root, and removed again.")]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    model: Model,
    /// Measure at this server as well.
    #[arg(long, value_name = "HOST:PORT", global = true)]
    zookeeper: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Model {
    /// How long a write takes in an ensemble.
    Zab(EnsembleArgs),
    /// Who leads, and how soon after a leader's death.
    Election(ElectionArgs),
    /// What a znode is.
    Znode(ZnodeArgs),
}

#[derive(Args, Debug)]
struct EnsembleArgs {
    /// Servers of the ensemble, or candidates.
    #[arg(long, value_name = "N", default_value_t = 3)]
    servers: usize,
    /// Round trip in milliseconds: one for all, or one for each follower.
    #[arg(long, value_name = "MS", value_delimiter = ',', value_parser = milliseconds, default_value = "0.5")]
    rtt: Vec<f64>,
    /// What a disk takes for an fsync, in milliseconds: one for all, or one for each server, the leader first.
    #[arg(long, value_name = "MS", value_delimiter = ',', value_parser = milliseconds, default_value = "2")]
    fsync: Vec<f64>,
}

#[derive(Args, Debug)]
struct ElectionArgs {
    #[command(flatten)]
    ensemble: EnsembleArgs,
    /// Elections, or deaths of leaders.
    #[arg(long, value_name = "K", default_value_t = 1)]
    rounds: u32,
    /// Session timeout that is asked for, in milliseconds.
    #[arg(long, value_name = "MS", default_value = "60000", value_parser = milliseconds)]
    session_timeout: f64,
    /// The servers' tickTime in milliseconds.
    #[arg(long, value_name = "MS", default_value = "2000", value_parser = milliseconds)]
    tick_time: f64,
    /// Votes of the servers that take part, as epoch:zxid:id. All, with the same epoch and zxid, unless given.
    #[arg(long, value_name = "VOTE", value_delimiter = ',')]
    votes: Vec<Vote>,
}

#[derive(Args, Debug)]
struct ZnodeArgs {
    /// Its path.
    #[arg(long, value_name = "PATH", default_value = "/app/latch-")]
    name: String,
    /// How much data it has.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    data_bytes: usize,
}

/// A day is long enough for all that is waited for here.
fn milliseconds(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.parse().ok();
    let value = value.filter(|value| (0.0..=86_400_000.0).contains(value));
    value.ok_or_else(|| "give milliseconds, from 0 to 86400000".to_owned())
}

impl EnsembleArgs {
    fn ensemble(&self) -> Result<Ensemble, Failure> {
        if !(1..=MAX_SERVERS).contains(&self.servers) {
            return Err(Failure::usage(format!("--servers is between 1 and {MAX_SERVERS}")));
        }
        Ensemble::new(self.servers, &self.rtt, &self.fsync).map_err(Failure::usage)
    }

    /// The mean round trip.
    fn rtt(&self) -> f64 {
        self.rtt.iter().sum::<f64>() / (self.rtt.len() as f64).max(1.0)
    }
}

/// Prints a model.
pub(crate) fn run(args: &ModelArgs) -> Result<(), Failure> {
    let mut sheet = match &args.model {
        Model::Zab(args) => zab(args)?,
        Model::Election(args) => election(args)?,
        Model::Znode(args) => znode(args)?,
    };
    let measured = args.zookeeper.as_ref().map(|server| {
        let lines = match &args.model {
            Model::Zab(_) => measure::zab(server),
            Model::Election(_) => measure::election(server),
            Model::Znode(_) => measure::znode(server),
        };
        lines.map(|lines| (server.clone(), lines))
    });
    let (measured, failed) = match measured {
        Some(Ok(lines)) => (Some(lines), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    sheet.measured = measured;
    print(&if args.json { format!("{}\n", sheet.json()) } else { sheet.text() })?;
    match failed {
        Some(error) => Err(Failure::job(format!("nothing was measured: {error}"))),
        None => Ok(()),
    }
}

fn zab(args: &EnsembleArgs) -> Result<Sheet, Failure> {
    let ensemble = args.ensemble()?;
    Ok(Sheet {
        model: "zab",
        given: json!({ "servers": args.servers, "rtt_ms": args.rtt, "fsync_ms": args.fsync }),
        article: zab::article_lines(&ensemble, args.rtt()),
        corrected: zab::corrected_lines(&ensemble),
        measured: None,
    })
}

fn election(args: &ElectionArgs) -> Result<Sheet, Failure> {
    let (ensemble, servers) = (args.ensemble.ensemble()?, args.ensemble.servers);
    let votes = match args.votes.is_empty() {
        // MAX_SERVERS fits.
        true => (1..=servers as u8).map(|id| Vote { epoch: 1, zxid: 1 << 32, id }).collect(),
        false => args.votes.clone(),
    };
    let mut ids: Vec<u8> = votes.iter().map(|vote| vote.id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < votes.len() || votes.len() > servers {
        return Err(Failure::usage(format!("--votes: at most one of each of the {servers} servers")));
    }
    let duration = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
    let given = election::Given {
        rtt: args.ensemble.rtt(),
        rounds: args.rounds,
        session_timeout: duration(args.session_timeout),
        tick: duration(args.tick_time),
        votes,
    };
    Ok(Sheet {
        model: "election",
        given: json!({
            "servers": servers, "rtt_ms": args.ensemble.rtt, "fsync_ms": args.ensemble.fsync, "rounds": args.rounds,
            "session_timeout_ms": args.session_timeout, "tick_time_ms": args.tick_time,
        }),
        article: election::article_lines(servers, args.rounds),
        corrected: election::corrected_lines(&ensemble, &given),
        measured: None,
    })
}

fn znode(args: &ZnodeArgs) -> Result<Sheet, Failure> {
    if !streamkeeper_keeper::path::is_valid(&args.name) {
        return Err(Failure::usage(format!("--name: {:?} is no path of a znode", args.name)));
    }
    Ok(Sheet {
        model: "znode",
        given: json!({ "name": args.name, "data_bytes": args.data_bytes }),
        article: znode::article_lines(),
        corrected: znode::corrected_lines(&args.name, args.data_bytes),
        measured: None,
    })
}
