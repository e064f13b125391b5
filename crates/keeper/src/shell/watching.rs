//! Commands about watches.

use std::time::Duration;

use super::words::Arguments;
use super::{Context, Problem, format};
use crate::client::{AddWatchMode, Error};
use crate::proto::WatcherType;

pub(super) fn add_watch(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let mode = match arguments.value("m").map(str::to_lowercase).as_deref() {
        None | Some("persistent_recursive") => AddWatchMode::PersistentRecursive,
        Some("persistent") => AddWatchMode::Persistent,
        Some(other) => return Err(Problem::Usage(format!("there is no mode {other}"))),
    };
    set(context, path, mode)
}

fn set(context: &mut Context, path: &str, mode: AddWatchMode) -> Result<(), Problem> {
    context.link.client()?.add_watch(path, mode)?;
    let watches = &mut context.link.watches;
    let list = match mode {
        AddWatchMode::Persistent => &mut watches.persistent,
        AddWatchMode::PersistentRecursive => &mut watches.persistent_recursive,
    };
    if !list.iter().any(|watched| watched == path) {
        list.push(path.to_owned().into());
    }
    Ok(())
}

pub(super) fn remove_watches(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let kinds = [
        ("c", WatcherType::Children),
        ("d", WatcherType::Data),
        ("p", WatcherType::Persistent),
        ("r", WatcherType::PersistentRecursive),
    ];
    let given = kinds.into_iter().find(|(option, _)| arguments.has(option));
    let kind = given.map_or(WatcherType::Any, |(_, kind)| kind);
    let asked = context.link.client().and_then(|client| Ok(client.remove_watches(path, kind)?));
    if let Err(problem) = asked {
        let lost = matches!(&problem, Problem::NotConnected)
            || matches!(&problem, Problem::Client(error) if error.code().is_none());
        // -l: without a connection, forgetting them is enough.
        if !(arguments.has("l") && lost) {
            return Err(problem);
        }
    }
    let watches = &mut context.link.watches;
    let lists = [
        (WatcherType::Children, &mut watches.child),
        (WatcherType::Data, &mut watches.data),
        (WatcherType::Data, &mut watches.exist),
        (WatcherType::Persistent, &mut watches.persistent),
        (WatcherType::PersistentRecursive, &mut watches.persistent_recursive),
    ];
    for (of, list) in lists {
        if kind == WatcherType::Any || kind == of {
            list.retain(|watched| watched != path);
        }
    }
    Ok(())
}

/// Follows all changes at and below a path, one line each, until interrupted (in the interactive shell: until Enter).
pub(super) fn watch(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    set(context, path, AddWatchMode::PersistentRecursive)?;
    if context.by_key {
        writeln!(context.err, "following {path}; Enter ends it")?;
    }
    while !(context.ended)() {
        for notification in context.link.notifications(Duration::from_millis(100)) {
            let event = format::event(notification.event_type());
            writeln!(context.out, "{event} {}", notification.path)?;
        }
        context.out.flush()?;
        // A lost connection comes back with the watch, unless its session is gone.
        match context.link.client() {
            Ok(_) => {}
            Err(problem @ (Problem::Client(Error::SessionExpired) | Problem::NotConnected)) => {
                return Err(problem);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
    let client = context.link.client()?;
    // Before 3.9 a server knows persistent watches only to set them: there all watches of the path go.
    if client.remove_watches(path, WatcherType::PersistentRecursive).is_err() {
        client.remove_watches(path, WatcherType::Any)?;
    }
    context.link.watches.persistent_recursive.retain(|watched| watched != path);
    Ok(())
}
