//! `streamkeeper completion`: what a shell needs to complete this command's words.

use clap::{Args, ValueEnum};

use crate::Failure;
use crate::run::print;

/// What `streamkeeper completion` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  source <(streamkeeper completion bash)
  streamkeeper completion zsh > \"${fpath[1]}/_streamkeeper\"
  streamkeeper completion fish > ~/.config/fish/completions/streamkeeper.fish")]
pub(crate) struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for a shell.
pub(crate) fn run(args: &CompletionArgs, mut command: clap::Command) -> Result<(), Failure> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "streamkeeper", &mut script);
    print(&String::from_utf8_lossy(&script))
}
