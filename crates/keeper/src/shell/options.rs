//! The shell's own options, as zkCli takes them.

use std::time::Duration;

/// What the shell is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `host:port,…/chroot`.
    pub servers: String,
    /// Session timeout to ask for.
    pub timeout: Duration,
    /// Whether a read-only server will do.
    pub read_only: bool,
    /// Whether to go on trying to connect until the timeout is over.
    pub wait_for_connection: bool,
    /// A command to run; empty for an interactive shell.
    pub command: Vec<String>,
}

impl Options {
    /// How the options are used.
    pub const USAGE: &str = "streamkeeper zk [-server host:port[,host:port…][/chroot]] [-timeout ms] [-r] [-waitforconnection] [COMMAND…]";

    /// Reads `-server`, `-timeout`, `-r`, `-waitforconnection` (with one dash or two) and the command behind them.
    pub fn parse(words: &[String]) -> Result<Options, String> {
        let mut options = Options {
            servers: "localhost:2181".to_owned(),
            timeout: Duration::from_secs(30),
            read_only: false,
            wait_for_connection: false,
            command: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix('-') else {
                options.command.push(word.clone());
                options.command.extend(words.by_ref().cloned());
                break;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match name {
                "server" => options.servers = value()?.clone(),
                "timeout" => {
                    let text = value()?;
                    let ms = text.parse().ok().filter(|ms| *ms > 0 && *ms <= i32::MAX as u64);
                    options.timeout = ms
                        .map(Duration::from_millis)
                        .ok_or_else(|| format!("{word} needs a number of ms, not `{text}`"))?;
                }
                "r" => options.read_only = true,
                "waitforconnection" => options.wait_for_connection = true,
                "" => {
                    options.command.extend(words.by_ref().cloned());
                    break;
                }
                _ => return Err(format!("there is no option {word}")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(&text.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_before_the_command() {
        let options = parse("-server a:1/x --timeout 5000 -r -waitforconnection ls -R /").unwrap();
        assert_eq!(options.servers, "a:1/x");
        assert_eq!(options.timeout, Duration::from_secs(5));
        assert!(options.read_only && options.wait_for_connection);
        assert_eq!(options.command, ["ls", "-R", "/"]);
        assert!(parse("").unwrap().command.is_empty());
        for wrong in ["-server", "-timeout x", "-timeout 0", "-x ls"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
