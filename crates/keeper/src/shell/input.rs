//! Lines for the interactive shell, read by a thread so that notifications can be shown meanwhile.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Editor, Helper};

use super::commands::COMMANDS;
use super::link::Link;

/// What the thread is asked for.
enum Ask {
    /// A line, with this prompt.
    Line(String),
    /// The Enter key.
    Enter,
}

/// Standard input.
pub(super) struct Input {
    asks: Sender<Ask>,
    lines: Receiver<Option<String>>,
    is_terminal: bool,
    /// The prompt of the line that is being edited.
    prompt: Option<String>,
    /// Whether the thread waits for Enter.
    entering: bool,
}

impl Input {
    /// Standard input; on a terminal lines can be edited, and znodes of `link` are completed.
    pub(super) fn open(link: Arc<Mutex<Link>>) -> Input {
        let (asks, asked) = channel();
        let (send, lines) = channel();
        let is_terminal = std::io::stdin().is_terminal();
        let editor = if is_terminal { Editor::new().ok() } else { None };
        match editor {
            Some(mut editor) => {
                editor.set_helper(Some(Completion { link }));
                std::thread::spawn(move || edit_lines(editor, &asked, &send));
            }
            None => drop(std::thread::spawn(move || read_lines(&asked, &send))),
        }
        Input { asks, lines, is_terminal, prompt: None, entering: false }
    }

    /// Asks for a line.
    pub(super) fn ask(&mut self, prompt: String) {
        // A line that was begun while `watch` waited for Enter is the next.
        if !std::mem::take(&mut self.entering) {
            self.prompt = self.is_terminal.then(|| prompt.clone());
            // A thread that has ended gives no line: see `line`.
            let _ = self.asks.send(Ask::Line(prompt));
        }
    }

    /// The line asked for, if it comes in time; `Some(None)` at the end of the input.
    pub(super) fn line(&mut self, within: Duration) -> Option<Option<String>> {
        let line = match self.lines.recv_timeout(within) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => None,
        };
        self.prompt = None;
        Some(line)
    }

    /// Whether Enter was pressed since this was first asked. Never, if the input is no terminal.
    pub(super) fn enter_was_pressed(&mut self) -> bool {
        if !self.is_terminal {
            return false;
        }
        if !self.entering {
            self.entering = true;
            let _ = self.asks.send(Ask::Enter);
        }
        match self.line(Duration::ZERO) {
            Some(_) => {
                self.entering = false;
                true
            }
            None => false,
        }
    }

    /// Shows text; in the place of a line that is being edited, whose prompt then comes again. (rustyline's own way to print meanwhile
    /// holds back what was pasted until the next key.)
    pub(super) fn print(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let shown = match &self.prompt {
            Some(prompt) => format!("\r\x1b[K{}{prompt}", text.replace('\n', "\r\n")),
            None => text.to_owned(),
        };
        let mut out = std::io::stdout();
        // A terminal that has gone ends the input as well.
        let _ = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
    }

    /// Whether there is somebody to press a key.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }
}

fn read_lines(asked: &Receiver<Ask>, send: &Sender<Option<String>>) {
    let mut lines = std::io::stdin().lock().lines();
    while asked.recv().is_ok() {
        let line = lines.next().and_then(Result::ok);
        let ended = line.is_none();
        if send.send(line).is_err() || ended {
            return;
        }
    }
}

fn edit_lines(
    mut editor: Editor<Completion, DefaultHistory>,
    asked: &Receiver<Ask>,
    send: &Sender<Option<String>>,
) {
    while let Ok(ask) = asked.recv() {
        let line = match ask {
            Ask::Enter => {
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).ok().filter(|count| *count > 0).map(|_| line)
            }
            Ask::Line(prompt) => match editor.readline(&prompt) {
                Ok(line) => {
                    // The history is of this run only.
                    let _ = editor.add_history_entry(&line);
                    Some(line)
                }
                Err(ReadlineError::Interrupted) => Some(String::new()),
                Err(_) => None,
            },
        };
        if send.send(line).is_err() {
            return;
        }
    }
}

/// Completes commands, and znodes.
struct Completion {
    link: Arc<Mutex<Link>>,
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or_default();
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &before[start..];
        if start == 0 {
            let names = COMMANDS.iter().map(|command| command.name);
            return Ok((
                0,
                names.filter(|name| name.starts_with(word)).map(|name| format!("{name} ")).collect(),
            ));
        }
        let Some((parent, prefix)) = word.rsplit_once('/') else { return Ok((start, Vec::new())) };
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let path = if parent.is_empty() { "/" } else { parent };
        let children = link.client().ok().and_then(|client| client.get_children(path, false).ok());
        let mut children = children.unwrap_or_default();
        children.retain(|child| child.starts_with(prefix));
        children.sort_unstable();
        Ok((start + parent.len() + 1, children))
    }
}

impl Helper for Completion {}
impl Hinter for Completion {
    type Hint = String;
}
impl Highlighter for Completion {}
impl Validator for Completion {}
