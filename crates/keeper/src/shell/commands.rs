//! The commands: names, usage and options.

use super::words::{Arguments, OptionSpec};
use super::{Context, Problem, access, quota, watching, znodes};

/// Runs a command.
pub(super) type Run = fn(&mut Context, &Arguments) -> Result<(), Problem>;

/// A command.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    options: &'static [OptionSpec],
    /// How many operands at least and at most.
    operands: (usize, usize),
    /// `None`: the shell's own.
    pub(super) run: Option<Run>,
}

impl Command {
    /// Takes the command's words apart.
    pub(super) fn parse(&self, words: &[String]) -> Result<Arguments, Problem> {
        let arguments = Arguments::parse(self.options, words)?;
        let (least, most) = self.operands;
        if let Some(one_too_many) = arguments.operand(most) {
            return Err(Problem::Usage(format!("Unexpected argument: {one_too_many}")));
        }
        if arguments.operands.len() < least {
            return Err(Problem::Usage("Arguments are missing".to_owned()));
        }
        Ok(arguments)
    }
}

const fn command(
    name: &'static str,
    usage: &'static str,
    options: &'static [OptionSpec],
    operands: (usize, usize),
    run: Run,
) -> Command {
    Command { name, usage, options, operands, run: Some(run) }
}

const fn own(name: &'static str, usage: &'static str, operands: (usize, usize)) -> Command {
    Command { name, usage, options: &[], operands, run: None }
}

const RECONFIG: &[OptionSpec] =
    &[("s", false), ("v", true), ("file", true), ("members", true), ("add", true), ("remove", true)];
const REMOVE_WATCHES: &[OptionSpec] =
    &[("c", false), ("d", false), ("p", false), ("r", false), ("a", false), ("l", false)];
const LIMITS: &[OptionSpec] = &[("n", true), ("b", true), ("N", true), ("B", true)];
const LIMIT_NAMES: &[OptionSpec] = &[("n", false), ("b", false), ("N", false), ("B", false)];

/// All commands, by name.
#[rustfmt::skip]
pub(super) const COMMANDS: &[Command] = &[
    command("addWatch", "[-m persistent|persistent_recursive] path", &[("m", true)], (1, 1), watching::add_watch),
    command("addauth", "scheme [auth]", &[], (1, 2), access::add_auth),
    own("close", "", (0, 0)),
    command("config", "[-c] [-w] [-s]", &[("c", false), ("w", false), ("s", false)], (0, 0), access::config),
    own("connect", "[host:port]", (0, 1)),
    command("create", "[-s] [-e] [-c] [-t ttl_ms] path [data] [acl]", &[("s", false), ("e", false), ("c", false), ("t", true)], (1, 3), znodes::create),
    command("delete", "[-v version] path", &[("v", true)], (1, 2), znodes::delete),
    command("deleteall", "[-b batch_size] path", &[("b", true)], (1, 1), znodes::delete_all),
    command("delquota", "[-n|-b|-N|-B] path", LIMIT_NAMES, (1, 1), quota::delete),
    own("exit", "", (0, 0)),
    command("get", "[-s] [-w] [-b] [-x] path", &[("s", false), ("w", false), ("b", false), ("x", false)], (1, 2), znodes::get),
    command("getAcl", "[-s] path", &[("s", false)], (1, 1), access::get_acl),
    command("getAllChildrenNumber", "path", &[], (1, 1), znodes::all_children_number),
    command("getEphemerals", "[path]", &[], (0, 1), znodes::ephemerals),
    own("help", "", (0, 1)),
    own("history", "", (0, 0)),
    command("listquota", "path", &[], (1, 1), quota::list),
    command("ls", "[-s] [-w] [-R] path", &[("s", false), ("w", false), ("R", false)], (1, 2), znodes::ls),
    own("printwatches", "[on|off]", (0, 1)),
    own("quit", "", (0, 0)),
    command("reconfig", "[-s] [-v version] ([-file path] | [-members server.N=host:port:port;port[,…]] | [-add server.N=…[,…]] [-remove N[,…]])", RECONFIG, (0, 0), access::reconfig),
    own("redo", "number", (1, 1)),
    command("removewatches", "path [-c|-d|-p|-r|-a] [-l]", REMOVE_WATCHES, (1, 1), watching::remove_watches),
    command("set", "[-s] [-v version] [-b] path data", &[("s", false), ("v", true), ("b", false)], (2, 2), znodes::set),
    command("setAcl", "[-s] [-v version] [-R] path acl", &[("s", false), ("v", true), ("R", false)], (2, 2), access::set_acl),
    command("setquota", "-n|-b|-N|-B limit path", LIMITS, (1, 1), quota::set),
    command("stat", "[-w] path", &[("w", false)], (1, 2), znodes::stat),
    command("sync", "path", &[], (1, 1), znodes::sync),
    command("version", "", &[], (0, 0), access::version),
    command("watch", "path", &[], (1, 1), watching::watch),
    command("whoami", "", &[], (0, 0), access::who_am_i),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_in_order_and_told_what_they_take() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        let get = COMMANDS.iter().find(|command| command.name == "get").unwrap();
        let words = |text: &str| super::super::words::split(text);
        assert!(get.parse(&words("-s /a")).unwrap().has("s"));
        for wrong in ["", "-q /a", "/a b c"] {
            assert!(matches!(get.parse(&words(wrong)), Err(Problem::Usage(_))), "{wrong}");
        }
    }
}
