//! A shell with zkCli's commands, one-shot and interactive.
//!
//! A line is split into `words`, the first of which names a command of `commands`; what the commands show is put into zkCli's form by
//! `format`. The connection (`link`) comes back after a loss. Lines come from `input`: a terminal with editing, or a pipe.

mod access;
mod commands;
mod format;
mod input;
mod link;
mod options;
mod quota;
mod watching;
mod words;
mod znodes;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use options::Options;

use crate::client::Error;
use commands::{COMMANDS, Command};
use input::Input;
use link::Link;
use words::Arguments;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// The command is not used as it should be; its usage is told as well.
    #[error("{0}")]
    Usage(String),
    /// There is no such command.
    #[error("Command not found: {0}; `help` lists the commands")]
    Unknown(String),
    /// A path names no znode.
    #[error("{0}")]
    Path(String),
    /// There is no session.
    #[error("Not connected")]
    NotConnected,
    /// Asking failed.
    #[error("{}", explain(.0))]
    Client(#[from] Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

fn explain(error: &Error) -> String {
    match error {
        Error::Refused { err, path, .. } => format::refusal(*err, path),
        error => error.to_string(),
    }
}

/// Where a command's output goes, and what it works on.
struct Context<'a> {
    link: &'a mut Link,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Ends `watch`: asked between events.
    ended: &'a mut dyn FnMut() -> bool,
    /// Whether the Enter key ends it.
    by_key: bool,
}

/// The shell.
pub struct Shell {
    link: Arc<Mutex<Link>>,
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    history: Vec<String>,
    print_watches: bool,
}

/// What a line came to.
enum Outcome {
    Done,
    Failed,
    Quit,
}

impl Shell {
    /// Runs as `options` say, over this process's input and output; whether it (in the end) succeeded.
    pub fn run(options: Options) -> bool {
        let client_options = crate::client::Options {
            timeout: options.timeout,
            connect_timeout: options.timeout.min(Duration::from_secs(10)),
            read_only: Some(options.read_only),
            ..crate::client::Options::default()
        };
        let mut shell = Shell {
            link: Arc::new(Mutex::new(Link::new(&options.servers, client_options))),
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            history: Vec::new(),
            print_watches: true,
        };
        let interactive = options.command.is_empty();
        if interactive {
            shell.say(&format!("Connecting to {}", options.servers));
        }
        let connected = shell.link().connect(None, options.wait_for_connection);
        let failed = connected.is_err();
        if let Err(problem) = connected {
            shell.complain(&problem.to_string());
        }
        match (interactive, failed) {
            // `connect` may still help.
            (true, _) => shell.interact(),
            (false, true) => false,
            (false, false) => {
                let outcome = shell.execute(&options.command, None);
                shell.link().close();
                !matches!(outcome, Outcome::Failed)
            }
        }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&mut self, text: &str) {
        // A reader that has gone is told nothing; the next command's output fails.
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    fn complain(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
    }

    fn interact(&mut self) -> bool {
        self.say("Welcome to ZooKeeper!");
        let mut input = Input::open(self.link.clone());
        let mut succeeded = true;
        loop {
            let prompt = {
                let link = self.link();
                format!("[zk: {}({}) {}] ", link.servers(), link.state(), self.history.len())
            };
            input.ask(prompt);
            let line = loop {
                if let Some(line) = input.line(Duration::from_millis(10)) {
                    break line;
                }
                let shown = self.notifications(Duration::from_millis(40));
                if !shown.is_empty() {
                    input.print(&shown);
                }
            };
            let Some(line) = line else { break };
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let outcome = self.execute_line(line, &mut input);
            let shown = self.notifications(Duration::ZERO);
            input.print(&shown);
            match outcome {
                Outcome::Done => succeeded = true,
                Outcome::Failed => succeeded = false,
                Outcome::Quit => break,
            }
        }
        self.link().close();
        succeeded
    }

    /// What notifications there are, as text.
    fn notifications(&mut self, within: Duration) -> String {
        let all = self.link().notifications(within);
        match self.print_watches {
            true => all.iter().map(format::watcher).collect(),
            false => String::new(),
        }
    }

    /// Runs a line and takes it into the history. `redo` runs an earlier line, which is what the history gets.
    fn execute_line(&mut self, line: &str, input: &mut Input) -> Outcome {
        let mut line = line.to_owned();
        let mut words = words::split(&line);
        if let [redo, number] = words.as_slice()
            && redo == "redo"
        {
            let found = number.parse::<usize>().ok().and_then(|number| self.history.get(number)).cloned();
            match found {
                Some(earlier) if !earlier.starts_with("redo") => line = earlier,
                Some(_) => return self.fail(&Problem::Other("No redoing redos".to_owned()), None),
                None => {
                    return self.fail(&Problem::Other(format!("There is no command {number}")), None);
                }
            }
            words = words::split(&line);
        }
        self.history.push(line);
        self.execute(&words, Some(input))
    }

    fn fail(&mut self, problem: &Problem, command: Option<&Command>) -> Outcome {
        self.complain(&problem.to_string());
        if let (Problem::Usage(_), Some(command)) = (problem, command) {
            self.complain(&format!("usage: {} {}", command.name, command.usage));
        }
        Outcome::Failed
    }

    fn execute(&mut self, words: &[String], input: Option<&mut Input>) -> Outcome {
        let Some((name, words)) = words.split_first() else { return Outcome::Done };
        if matches!(name.as_str(), "quit" | "exit") {
            return Outcome::Quit;
        }
        let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
            return self.fail(&Problem::Unknown(name.clone()), None);
        };
        let result = command.parse(words).and_then(|arguments| match command.run {
            Some(run) => self.run_command(run, &arguments, input),
            None => self.run_own(command.name, &arguments),
        });
        match result {
            Ok(()) => Outcome::Done,
            Err(Problem::Output(_)) => Outcome::Quit,
            Err(problem) => self.fail(&problem, Some(command)),
        }
    }

    fn run_command(
        &mut self,
        run: commands::Run,
        arguments: &Arguments,
        input: Option<&mut Input>,
    ) -> Result<(), Problem> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let mut input = input;
        let by_key = input.as_ref().is_some_and(|input| input.is_terminal());
        let mut ended = || input.as_mut().is_some_and(|input| input.enter_was_pressed());
        let mut context =
            Context { link: &mut link, out: &mut self.out, err: &mut self.err, ended: &mut ended, by_key };
        let result = run(&mut context, arguments);
        if let Err(problem) = &result {
            link.note(problem);
        }
        self.out.flush()?;
        result
    }

    /// Commands about the shell itself.
    fn run_own(&mut self, name: &str, arguments: &Arguments) -> Result<(), Problem> {
        match (name, arguments.operand(0)) {
            ("connect", servers) => return self.link().connect(servers, false),
            ("close", _) => self.link().close(),
            ("history", _) => {
                let first = self.history.len().saturating_sub(11);
                for (number, line) in self.history.iter().enumerate().skip(first) {
                    writeln!(self.out, "{number} - {line}")?;
                }
            }
            ("printwatches", None) => {
                let state = if self.print_watches { "on" } else { "off" };
                writeln!(self.out, "printwatches is {state}")?;
            }
            ("printwatches", Some("on")) => self.print_watches = true,
            ("printwatches", Some("off")) => self.print_watches = false,
            ("help", _) => {
                for command in COMMANDS {
                    writeln!(self.out, "{}", format!("\t{} {}", command.name, command.usage).trim_end())?;
                }
            }
            ("redo", _) => return Err(Problem::Usage("`redo` has no history to go by here".to_owned())),
            _ => return Err(Problem::Usage("on or off is wanted".to_owned())),
        }
        Ok(())
    }
}
