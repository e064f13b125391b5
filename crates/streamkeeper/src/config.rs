//! `streamkeeper config`: reads and changes configuration documents. Answers go to standard output, what is said beside them
//! to standard error.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use streamkeeper::live_config;
use streamkeeper_coordination::Error;
use streamkeeper_coordination::config::diff::diff;
use streamkeeper_coordination::config::document::MAX_BYTES;
use streamkeeper_coordination::config::edit::{Edit, SchemaEdit, rollback};
use streamkeeper_coordination::config::secret::{KEY_ENV, KEY_FILE_ENV, Key, Plain, Secret};
use streamkeeper_coordination::config::store::ConfigStore;
use streamkeeper_coordination::config::{Document, Scope};
use streamkeeper_dataflow::config::ZOOKEEPER_QUORUM;
use streamkeeper_zookeeper::block_on;

use crate::{Failure, run};

/// What `streamkeeper config` is asked to do.
#[derive(Args, Debug)]
#[command(after_help = "\
SCOPE is cluster, job/<name> or shared/<doc>. A job reads them as CONFIG('cluster', …), CONFIG('job', …), CONFIG('<doc>', …).

Examples:
  streamkeeper config set shared/rules '{\"threshold\": 5}' --schema rules.schema.json --comment 'first guess'
  streamkeeper config get shared/rules
  streamkeeper config diff shared/rules 3 7
  streamkeeper config rollback shared/rules 3

Exit codes: 0 success, 1 ZooKeeper could not do it or somebody else came first, 2 the options or the document are wrong.")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
    /// Servers of ZooKeeper, host:port,host:port: short for --set high-availability.zookeeper.quorum=SERVERS.
    #[arg(long, value_name = "SERVERS", global = true)]
    zookeeper: Option<String>,
    /// Set a configuration key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Print the content of the revision in force, or of another.
    Get {
        scope: Scope,
        /// Another revision.
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
    },
    /// Write a new revision.
    Set {
        scope: Scope,
        /// The content, a JSON object; left out, it stays as it is.
        data: Option<String>,
        /// Read the content from a file; `-` is standard input.
        #[arg(short, long, value_name = "FILE", conflicts_with = "data")]
        file: Option<PathBuf>,
        /// A JSON Schema that this and all later revisions have to match.
        #[arg(long, value_name = "FILE")]
        schema: Option<PathBuf>,
        /// From now on without a schema.
        #[arg(long, conflicts_with = "schema")]
        no_schema: bool,
        /// Only if this revision is in force; 0: only if there is none.
        #[arg(long, value_name = "N")]
        expect: Option<u64>,
        #[command(flatten)]
        note: Note,
    },
    /// Make the content and schema of an old revision a new one.
    Rollback {
        scope: Scope,
        revision: u64,
        #[command(flatten)]
        note: Note,
    },
    /// Show what differs between two revisions.
    Diff {
        scope: Scope,
        /// The one before NEW, unless given.
        old: Option<u64>,
        /// The one in force, unless given.
        new: Option<u64>,
    },
    /// List revisions, the newest first.
    History {
        scope: Scope,
        /// So many at most.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// List all documents.
    List,
    /// Seal a secret from standard input, and print what to write into a document.
    Seal,
}

#[derive(Args, Debug)]
struct Note {
    /// Why.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
    /// Who; $USER, unless given.
    #[arg(long)]
    author: Option<String>,
}

impl Note {
    fn author(&self) -> String {
        let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
        self.author.clone().or_else(user).unwrap_or_else(|| "unknown".into())
    }
}

pub(crate) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    if matches!(args.command, ConfigCommand::Seal) {
        return seal();
    }
    let mut pairs = args.set.clone();
    pairs.extend(args.zookeeper.iter().map(|servers| format!("{ZOOKEEPER_QUORUM}={servers}")));
    let store = live_config::connect(&run::load_configuration(&pairs)?).map_err(Failure::live_config)?;
    let outcome = execute(args, &store);
    live_config::close(store.zookeeper());
    outcome
}

fn execute(args: &ConfigArgs, store: &ConfigStore) -> Result<(), Failure> {
    block_on(store.sync()).map_err(failure)?;
    match &args.command {
        ConfigCommand::Get { scope, revision } => get(store, scope, *revision, args.json),
        ConfigCommand::Set { scope, data, file, schema, no_schema, expect, note } => {
            let data = match (data, file) {
                (Some(text), _) => Some(parse("the content", text)?),
                (None, Some(path)) => Some(read(path)?),
                (None, None) => None,
            };
            let (data, expected) = match data {
                Some(data) => (data, *expect),
                None => {
                    let document = in_force(store, scope)?;
                    (document.data, Some(expect.unwrap_or(document.revision)))
                }
            };
            let schema = match schema {
                Some(path) => SchemaEdit::Replace(read(path)?),
                None if *no_schema => SchemaEdit::Drop,
                None => SchemaEdit::Keep,
            };
            let (author, comment) = (note.author(), note.comment.clone());
            write(store, scope, Edit { author, time: now(), comment, data, schema, expected }, args.json)
        }
        ConfigCommand::Rollback { scope, revision, note } => {
            let old = block_on(store.revision(scope, *revision)).map_err(failure)?;
            write(store, scope, rollback(&old, note.author(), now(), note.comment.clone()), args.json)
        }
        ConfigCommand::Diff { scope, old, new } => show_diff(store, scope, *old, *new, args.json),
        ConfigCommand::History { scope, limit } => {
            let history = block_on(store.history(scope, *limit)).map_err(failure)?;
            if history.is_empty() {
                return Err(failure(Error::NotFound(format!("there is no {scope}"))));
            }
            let lines = history.iter().map(|document| match args.json {
                true => meta(scope, document).to_string(),
                false => line(document),
            });
            print(&lines.map(|line| line + "\n").collect::<String>())
        }
        ConfigCommand::List => list(store, args.json),
        ConfigCommand::Seal => Ok(()),
    }
}

fn get(store: &ConfigStore, scope: &Scope, revision: Option<u64>, json: bool) -> Result<(), Failure> {
    let document = match revision {
        Some(revision) => block_on(store.revision(scope, revision)).map_err(failure)?,
        None => in_force(store, scope)?,
    };
    if json {
        let mut shown = meta(scope, &document);
        shown["schema"] = document.schema.clone().unwrap_or(Value::Null);
        shown["data"] = document.data;
        return print(&format!("{shown}\n"));
    }
    eprintln!("{}", line(&document));
    print(&format!("{:#}\n", document.data))
}

/// The revision in force. Tells of a znode whose content is ignored.
fn in_force(store: &ConfigStore, scope: &Scope) -> Result<Document, Failure> {
    let followed = block_on(store.find(scope)).map_err(failure)?.followed();
    if let Some(problem) = followed.problem() {
        eprintln!("warning: {scope}: {problem}");
    }
    followed.in_force().cloned().ok_or_else(|| failure(Error::NotFound(format!("there is no {scope}"))))
}

fn write(store: &ConfigStore, scope: &Scope, edit: Edit, json: bool) -> Result<(), Failure> {
    let written = block_on(store.write(scope, edit, &BTreeSet::new())).map_err(failure)?;
    if let Some(warning) = &written.warning {
        eprintln!("warning: {warning}");
    }
    match json {
        true => print(&format!("{}\n", meta(scope, &written.document))),
        false => print(&format!("{scope}: revision {}\n", written.document.revision)),
    }
}

fn show_diff(
    store: &ConfigStore,
    scope: &Scope,
    old: Option<u64>,
    new: Option<u64>,
    json: bool,
) -> Result<(), Failure> {
    let new = match new {
        Some(revision) => block_on(store.revision(scope, revision)).map_err(failure)?,
        None => in_force(store, scope)?,
    };
    let before = || -> Result<u64, Failure> {
        let revisions = block_on(store.revisions(scope)).map_err(failure)?;
        let before = revisions.into_iter().rev().find(|revision| *revision < new.revision);
        before.ok_or_else(|| {
            failure(Error::NotFound(format!("{scope} has no revision before {}", new.revision)))
        })
    };
    let old = old.map_or_else(before, Ok)?;
    let old = block_on(store.revision(scope, old)).map_err(failure)?;
    let whole = |document: &Document| match &document.schema {
        Some(schema) => json!({"data": document.data, "schema": schema}),
        None => json!({"data": document.data}),
    };
    let changes = diff(&whole(&old), &whole(&new));
    if json {
        let changes = changes.iter().map(|c| json!({"path": c.path, "old": c.old, "new": c.new}));
        let changes: Vec<Value> = changes.collect();
        return print(&format!(
            "{}\n",
            json!({"old": old.revision, "new": new.revision, "changes": changes})
        ));
    }
    eprintln!("{} -> {}", line(&old), line(&new));
    print(&changes.iter().map(|change| format!("{change}\n")).collect::<String>())
}

fn list(store: &ConfigStore, json: bool) -> Result<(), Failure> {
    let mut text = String::new();
    for scope in block_on(store.list()).map_err(failure)? {
        let followed = block_on(store.find(&scope)).map_err(failure)?.followed();
        let problem = followed.problem().map_or(Value::Null, Value::from);
        if json {
            let mut shown =
                followed.in_force().map_or_else(|| json!({"scope": scope.to_string()}), |d| meta(&scope, d));
            shown["problem"] = problem;
            text += &format!("{shown}\n");
        } else {
            let revision = followed.in_force().map_or_else(|| "no valid revision".into(), line);
            let problem =
                followed.problem().map(|problem| format!("\n  problem: {problem}")).unwrap_or_default();
            text += &format!("{scope}: {revision}{problem}\n");
        }
    }
    print(&text)
}

fn seal() -> Result<(), Failure> {
    let key = Key::of_process().map_err(Failure::usage)?.ok_or_else(|| {
        Failure::usage(format!(
            "no key is given: set {KEY_ENV} to 64 hex digits, or {KEY_FILE_ENV} to a file with them"
        ))
    })?;
    let text = read_text(Path::new("-"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let sealed = Secret::seal(&Plain::new(text), &key).map_err(Failure::usage)?;
    print(&format!("{}\n", sealed.to_json()))
}

/// A revision without its content.
fn meta(scope: &Scope, document: &Document) -> Value {
    json!({
        "scope": scope.to_string(), "revision": document.revision, "author": document.author,
        "time": document.time, "comment": document.comment,
    })
}

/// A revision without its content, for a person.
fn line(document: &Document) -> String {
    let author = if document.author.is_empty() { "somebody" } else { &document.author };
    let mut line = format!("revision {} by {author}", document.revision);
    if !document.time.is_empty() {
        line += &format!(" at {}", document.time);
    }
    if !document.comment.is_empty() {
        line += &format!(": {}", document.comment);
    }
    line
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::InvalidName { .. }
        | Error::InvalidDocument { .. }
        | Error::InvalidSchema(_)
        | Error::Secret(_) => Failure::usage(error),
        // What was found in ZooKeeper, not what was asked for.
        _ => Failure::job(error),
    }
}

fn parse(what: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|e| Failure::usage(format!("{what} is no JSON: {e}")))
}

fn read(path: &Path) -> Result<Value, Failure> {
    parse(&path.display().to_string(), &read_text(path)?)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::usage(format!("cannot read {}: {e}", path.display()));
    let mut text = String::new();
    let limit = MAX_BYTES as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    match read.map_err(|e| fail(&e))? {
        bytes if bytes > MAX_BYTES => Err(fail(&format!("it has more than {MAX_BYTES} bytes"))),
        _ => Ok(text),
    }
}

/// A reader that has gone (`| head`) is not an error of ours.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::job(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}
