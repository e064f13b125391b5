//! `streamkeeper gc`: checkpoints that no job needs.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use streamkeeper_cluster::config::ClusterConfig;
use streamkeeper_cluster::gc::{Finding, GcOptions, Verdict, find, remove};
use streamkeeper_coordination::Cluster;
use streamkeeper_zookeeper::{ZooKeeper, block_on};

use super::configuration;
use crate::Failure;
use crate::run::print;

/// What `streamkeeper gc` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Looks through the checkpoint directories of the cluster's jobs, live or ended, and execution.checkpointing.dir, for what was left
half written or was not deleted when a process was killed. Nothing is deleted without --yes. What a job's pointer names or may still
need stays; so do checkpoints of runs that are not known, unless --lineage names them. To be run where the directories are; ZooKeeper
is found by high-availability.zookeeper.quorum.")]
pub(crate) struct GcArgs {
    /// Delete the orphans.
    #[arg(long)]
    yes: bool,
    /// A checkpoint directory to look through as well; may be repeated.
    #[arg(long = "dir", value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Take the checkpoints of this run for orphans although no job of the cluster is known to be of it; may be repeated.
    #[arg(long = "lineage", value_name = "ID")]
    lineages: Vec<String>,
    /// Set a configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Finds orphans, and deletes them if told to.
pub(crate) fn gc(args: &GcArgs) -> Result<(), Failure> {
    let config = ClusterConfig::new(configuration(&args.set)?);
    let zookeeper = config.zookeeper().map_err(Failure::usage)?;
    let zookeeper = block_on(ZooKeeper::connect(zookeeper)).map_err(Failure::job)?;
    let cluster = Cluster::at(zookeeper.clone(), config.layout().map_err(Failure::usage)?);
    let directories = args.directories.iter().cloned().chain(config.checkpoint_directory()).collect();
    let options = GcOptions { directories, lineages: args.lineages.iter().cloned().collect() };
    let findings = find(&cluster, &options).map_err(Failure::job);
    streamkeeper::live_config::close(&zookeeper);
    let findings = findings?;
    let failed = if args.yes { remove(&findings) } else { Default::default() };
    print(&if args.json { as_json(&findings, args.yes) } else { as_text(&findings, args.yes) })?;
    match failed.iter().next() {
        None => Ok(()),
        Some((path, reason)) => Err(Failure::job(format!(
            "{} files cannot be deleted, {} among them: {reason}",
            failed.len(),
            path.display()
        ))),
    }
}

fn word(verdict: Verdict, delete: bool) -> &'static str {
    match verdict {
        Verdict::Orphan if delete => "deleted",
        Verdict::Orphan => "orphan",
        Verdict::Unknown => "unknown",
        Verdict::Unclear => "unclear",
    }
}

fn as_json(findings: &[Finding], delete: bool) -> String {
    let findings = findings.iter().map(|finding| {
        json!({
            "lineage": finding.lineage,
            "checkpoint": finding.checkpoint,
            "job": finding.job,
            "path": finding.path,
            "files": finding.files,
            "bytes": finding.bytes,
            "verdict": word(finding.verdict, delete),
            "reason": finding.reason,
        })
    });
    format!("{}\n", json!({ "deleted": delete, "findings": findings.collect::<Vec<_>>() }))
}

fn as_text(findings: &[Finding], delete: bool) -> String {
    if findings.is_empty() {
        return "No orphans.\n".into();
    }
    let mut text = format!(
        "{:32}  {:>10}  {:>5}  {:>12}  {:8}  {}\n",
        "LINEAGE", "CHECKPOINT", "FILES", "BYTES", "", "WHY"
    );
    for finding in findings {
        text.push_str(&format!(
            "{:32}  {:>10}  {:>5}  {:>12}  {:8}  {}\n",
            finding.lineage,
            finding.checkpoint,
            finding.files.len(),
            finding.bytes,
            word(finding.verdict, delete),
            finding.reason,
        ));
    }
    let orphans = || findings.iter().filter(|finding| finding.verdict == Verdict::Orphan);
    let (count, bytes) = (orphans().count(), orphans().map(|finding| finding.bytes).sum::<u64>());
    text.push_str(&match (count, delete) {
        (0, _) => "Nothing can be deleted.\n".to_owned(),
        (_, true) => format!("Deleted what was left of {count} checkpoints, {bytes} bytes.\n"),
        (_, false) => {
            format!(
                "Nothing was deleted. --yes deletes what is left of {count} checkpoints, {bytes} bytes.\n"
            )
        }
    });
    text
}
