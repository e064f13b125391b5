//! `streamkeeper zk`: a shell for ZooKeeper servers. Its options are zkCli's, with one dash, so they are read by the shell itself.

use std::process::ExitCode;

use clap::Args;
use streamkeeper_keeper::shell::{Options, Shell};

/// What `streamkeeper zk` is asked to do.
#[derive(Args, Debug)]
#[command(
    override_usage = Options::USAGE,
    after_help = "\
Options:
  -server HOSTS        host:port[,host:port…][/chroot] (localhost:2181)
  -timeout MS          session timeout to ask for (30000)
  -r                   take a read-only server as well
  -waitforconnection   go on trying to connect until the timeout is over

Without a command, commands are read from the terminal or a pipe; `help` lists them. Examples:
  streamkeeper zk ls -R /
  streamkeeper zk -server zk1:2181,zk2:2181/app get -s /config
  streamkeeper zk watch /config

Exit codes: 0 success, 1 the (last) command failed, 2 the options are wrong."
)]
pub(crate) struct ZkArgs {
    /// Options and command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: &ZkArgs) -> ExitCode {
    match Options::parse(&args.words) {
        Ok(options) => match Shell::run(options) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(1),
        },
        Err(problem) => {
            eprintln!("error: {problem}\nusage: {}", Options::USAGE);
            ExitCode::from(2)
        }
    }
}
