//! Commands about znodes and their data.

use super::words::Arguments;
use super::{Context, Problem, format};
use crate::acl::OPEN_ACL_UNSAFE;
use crate::client::{Client, Create};
use crate::owner::MAX_TTL_MS;
use crate::proto::{Code, Request};

/// Whether to set a watch: `-w`, or what zkCli once took, any word behind the path.
fn wants_watch(context: &mut Context, name: &str, arguments: &Arguments) -> Result<bool, Problem> {
    if arguments.operand(1).is_some() {
        writeln!(context.err, "'{name} path [watch]' is old: write '{name} -w path'")?;
    }
    Ok(arguments.has("w") || arguments.operand(1).is_some())
}

pub(super) fn create(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let usage = |text: &str| Err(Problem::Usage(text.to_owned()));
    let ttl = arguments.number::<i64>("t")?;
    let create = match (arguments.has("e"), arguments.has("s"), arguments.has("c"), ttl) {
        (true, _, true, _) | (_, true, true, _) => {
            return usage(
                "-c goes neither with -e nor with -s: containers are neither ephemeral nor sequential",
            );
        }
        (true, _, _, Some(_)) => return usage("-t does not go with -e"),
        (_, _, true, Some(_)) => return usage("-t does not go with -c"),
        (_, _, _, Some(ttl)) if !(1..=MAX_TTL_MS).contains(&ttl) => {
            return Err(Problem::Usage(format!("-t is between 1 and {MAX_TTL_MS} ms, not {ttl}")));
        }
        (true, true, ..) => Create::EphemeralSequential,
        (true, false, ..) => Create::Ephemeral,
        (_, true, _, Some(ttl)) => Create::TtlSequential(ttl),
        (_, true, _, None) => Create::PersistentSequential,
        (_, _, true, _) => Create::Container,
        (.., Some(ttl)) => Create::Ttl(ttl),
        _ => Create::Persistent,
    };
    let path = arguments.required(0, "path")?;
    let sequential = matches!(
        create,
        Create::EphemeralSequential | Create::PersistentSequential | Create::TtlSequential(_)
    );
    // The number that a sequential znode gets may be all of its name.
    super::words::check_path(&if sequential { format!("{path}1") } else { path.to_owned() })?;
    let data = arguments.operand(1).map(str::as_bytes);
    let acl = match arguments.operand(2) {
        Some(text) => format::parse_acls(text).map_err(Problem::Usage)?,
        None => OPEN_ACL_UNSAFE.clone(),
    };
    let created = context.link.client()?.create(path, data, acl, create)?;
    writeln!(context.err, "Created {created}")?;
    Ok(())
}

pub(super) fn delete(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let mut version = arguments.number("v")?;
    if let Some(text) = arguments.operand(1) {
        writeln!(context.err, "'delete path [version]' is old: write 'delete -v version path'")?;
        let number =
            text.parse().map_err(|_| Problem::Usage(format!("a version is a number, not `{text}`")))?;
        version = version.or(Some(number));
    }
    context.link.client()?.delete(path, version.unwrap_or(-1))?;
    Ok(())
}

/// The znodes of a subtree, each before its children, which are sorted. What is deleted meanwhile is left out.
pub(super) fn subtree(
    client: &mut Client,
    root: &str,
    watch: bool,
    visit: &mut dyn FnMut(&mut Client, &str) -> Result<(), Problem>,
) -> Result<Vec<String>, Problem> {
    let mut watched = Vec::new();
    let mut stack = vec![root.to_owned()];
    while let Some(path) = stack.pop() {
        let mut children = match client.get_children(&path, watch) {
            Ok(children) => children,
            Err(error) if error.code() == Some(Code::NoNode) && path != root => continue,
            Err(error) => return Err(error.into()),
        };
        visit(client, &path)?;
        children.sort_unstable_by(|a, b| b.cmp(a));
        let base = if path == "/" { "" } else { path.as_str() };
        stack.extend(children.iter().map(|child| format!("{base}/{child}")));
        if watch {
            watched.push(path);
        }
    }
    Ok(watched)
}

pub(super) fn delete_all(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let batch: usize = arguments.number("b")?.unwrap_or(1000);
    if batch == 0 {
        return Err(Problem::Usage("-b is at least 1".to_owned()));
    }
    let client = context.link.client()?;
    let mut all = Vec::new();
    subtree(client, path, false, &mut |_, path| {
        all.push(path.to_owned());
        Ok(())
    })?;
    // Children first; the root itself cannot be deleted.
    all.retain(|path| path != "/");
    all.reverse();
    let mut refused = None;
    for batch in all.chunks(batch) {
        let delete = |path: &String| Request::Delete { path: path.clone().into(), version: -1 };
        let parts = client.multi(batch.iter().map(delete).collect())?;
        refused = refused.or_else(|| {
            let failed = parts.iter().position(|part| !matches!(part.err, 0 | -2))?;
            Some(format::refusal(parts[failed].err, batch.get(failed).map_or("", String::as_str)))
        });
    }
    match refused {
        Some(reason) => {
            Err(Problem::Other(format!("Failed to delete some node(s) in the subtree! {reason}")))
        }
        None => Ok(()),
    }
}

pub(super) fn get(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let watch = wants_watch(context, "get", arguments)?;
    let (data, stat) = context.link.client()?.get_data(path, watch)?;
    if watch {
        context.link.watches.data.push(path.to_owned().into());
    }
    let data = data.as_deref().unwrap_or(b"null");
    if arguments.has("x") {
        writeln!(context.out, "{}", format::hex_dump(data))?;
    } else if arguments.has("b") {
        writeln!(context.out, "{}", format::base64(data))?;
    } else {
        writeln!(context.out, "{}", String::from_utf8_lossy(data))?;
    }
    if arguments.has("s") {
        write!(context.out, "{}", format::stat(&stat))?;
    }
    Ok(())
}

pub(super) fn set(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let text = arguments.required(1, "data")?;
    let data = match arguments.has("b") {
        true => format::from_base64(text).ok_or_else(|| Problem::Usage(format!("`{text}` is not base64")))?,
        false => text.as_bytes().to_vec(),
    };
    let version = arguments.number("v")?.unwrap_or(-1);
    let stat = context.link.client()?.set_data(path, Some(&data), version)?;
    if arguments.has("s") {
        write!(context.out, "{}", format::stat(&stat))?;
    }
    Ok(())
}

pub(super) fn ls(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let watch = wants_watch(context, "ls", arguments)?;
    let client = context.link.client()?;
    if arguments.has("R") {
        let watched = subtree(client, path, watch, &mut |_, path| Ok(writeln!(context.out, "{path}")?))?;
        context.link.watches.child.extend(watched.into_iter().map(Into::into));
        return Ok(());
    }
    let (mut children, stat) = client.get_children2(path, watch)?;
    if watch {
        context.link.watches.child.push(path.to_owned().into());
    }
    children.sort_unstable();
    writeln!(context.out, "[{}]", children.join(", "))?;
    if arguments.has("s") {
        write!(context.out, "{}", format::stat(&stat))?;
    }
    Ok(())
}

pub(super) fn stat(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let watch = wants_watch(context, "stat", arguments)?;
    let stat = context.link.client()?.exists(path, watch)?;
    if watch {
        let watches = &mut context.link.watches;
        let list = if stat.is_some() { &mut watches.data } else { &mut watches.exist };
        list.push(path.to_owned().into());
    }
    let stat = stat.ok_or_else(|| Problem::Other(format::refusal(Code::NoNode as i32, path)))?;
    write!(context.out, "{}", format::stat(&stat))?;
    Ok(())
}

pub(super) fn sync(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    context.link.client()?.sync(arguments.path()?)?;
    writeln!(context.out, "Sync is OK")?;
    Ok(())
}

pub(super) fn all_children_number(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let number = context.link.client()?.get_all_children_number(arguments.path()?)?;
    writeln!(context.out, "{number}")?;
    Ok(())
}

pub(super) fn ephemerals(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let prefix = arguments.operand(0).unwrap_or("/");
    super::words::check_path(prefix)?;
    let paths = context.link.client()?.get_ephemerals(prefix)?;
    writeln!(context.out, "[{}]", paths.join(", "))?;
    Ok(())
}
