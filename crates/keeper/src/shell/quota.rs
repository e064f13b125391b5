//! Quotas: znodes below `/zookeeper/quota` that hold a subtree's limits and what it has.

use super::words::Arguments;
use super::{Context, Problem};
use crate::acl::OPEN_ACL_UNSAFE;
use crate::client::{Client, Create};
use crate::proto::Code;
use crate::tree::StatsTrack;

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Options and the limits they name: numbers of znodes and of bytes, soft and hard.
const KEYS: [(&str, &str); 4] =
    [("n", "count"), ("b", "bytes"), ("N", "countHardLimit"), ("B", "byteHardLimit")];

fn one_of(arguments: &Arguments) -> Result<Option<(&'static str, &'static str, &str)>, Problem> {
    let mut given = KEYS.iter().filter_map(|(option, key)| Some((*option, *key, arguments.value(option)?)));
    let first = given.next();
    match given.next() {
        Some((option, ..)) => Err(Problem::Usage(format!("-{option} does not go with another limit"))),
        None => Ok(first),
    }
}

fn read(client: &mut Client, path: &str) -> Result<StatsTrack, Problem> {
    let (data, _) = client.get_data(path, false)?;
    Ok(StatsTrack::parse(data.as_deref().unwrap_or_default()))
}

fn is_missing(problem: &Problem) -> bool {
    matches!(problem, Problem::Client(error) if error.code() == Some(Code::NoNode))
}

pub(super) fn list(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let limits = format!("{ROOT}{path}/{LIMITS}");
    writeln!(context.err, "absolute path is {limits}")?;
    let client = context.link.client()?;
    let both = read(client, &limits)
        .and_then(|limits| Ok((limits, read(client, &format!("{ROOT}{path}/{STATS}"))?)));
    match both {
        Ok((limits, stats)) => {
            writeln!(context.out, "Output quota for {path} {limits}")?;
            writeln!(context.out, "Output stat for {path} {stats}")?;
        }
        Err(problem) if is_missing(&problem) => writeln!(context.err, "quota for {path} does not exist.")?,
        Err(problem) => return Err(problem),
    }
    Ok(())
}

pub(super) fn set(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    if path.starts_with(ROOT) {
        return Err(Problem::Other(format!("cannot set a quota under the path: {ROOT}")));
    }
    let Some((option, key, value)) = one_of(arguments)? else {
        return Err(Problem::Usage("one of -n, -b, -N, -B is wanted".to_owned()));
    };
    let least = i64::from(key.starts_with("count"));
    let value: i64 =
        value.parse().ok().filter(|value| *value >= least).ok_or_else(|| {
            Problem::Usage(format!("-{option} needs a number from {least} on, not `{value}`"))
        })?;
    let client = context.link.client()?;
    if client.exists(path, false)?.is_none() {
        return Err(Problem::Other(format!("{path} does not exist.")));
    }
    refuse_nested(client, path)?;
    client.create_all(&format!("{ROOT}{path}"))?;
    let (limits_path, stats_path) = (format!("{ROOT}{path}/{LIMITS}"), format!("{ROOT}{path}/{STATS}"));
    let mut limits = StatsTrack::default();
    for (_, key) in KEYS {
        limits.set(key, -1);
    }
    let acl = || OPEN_ACL_UNSAFE.clone();
    match read(client, &limits_path) {
        Ok(mut before) => {
            before.set(key, value);
            client.set_data(&limits_path, Some(before.to_string().as_bytes()), -1)?;
        }
        Err(problem) if is_missing(&problem) => {
            limits.set(key, value);
            client.create(&limits_path, Some(limits.to_string().as_bytes()), acl(), Create::Persistent)?;
            client.create(&stats_path, Some(b"count=0,bytes=0"), acl(), Create::Persistent)?;
        }
        Err(problem) => return Err(problem),
    }
    let stats = read(client, &stats_path)?;
    let has = stats.get(if key.starts_with("count") { "count" } else { "bytes" });
    if value < has {
        let what = if key.starts_with("count") { "count" } else { "bytes" };
        writeln!(context.out, "[Warning]: the {what} quota is less than what {path} has: {has}")?;
    }
    Ok(())
}

/// One subtree with a quota must not lie within another.
fn refuse_nested(client: &mut Client, path: &str) -> Result<(), Problem> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    for parent in ends.map(|end| &path[..end]) {
        if client.exists(&format!("{ROOT}{parent}/{LIMITS}"), false)?.is_some() {
            return Err(Problem::Other(format!("{path} has a parent {parent} which has a quota")));
        }
    }
    let own = format!("{ROOT}{path}");
    let visited = super::znodes::subtree(client, &own, false, &mut |_, below| match below
        .strip_suffix(LIMITS)
        .and_then(|below| below.strip_suffix('/'))
    {
        Some(limited) if limited != own => {
            let child = limited.strip_prefix(ROOT).unwrap_or(limited);
            Err(Problem::Other(format!("{path} has a child {child} which has a quota")))
        }
        _ => Ok(()),
    });
    match visited {
        Err(problem) if !is_missing(&problem) => Err(problem),
        _ => Ok(()),
    }
}

pub(super) fn delete(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let limit = one_of(arguments)?;
    let client = context.link.client()?;
    let own = format!("{ROOT}{path}");
    let limits_path = format!("{own}/{LIMITS}");
    let mut limits = match read(client, &limits_path) {
        Err(problem) if is_missing(&problem) => {
            writeln!(context.out, "Quota does not exist for {path}")?;
            return Ok(());
        }
        limits => limits?,
    };
    if let Some((_, key, _)) = limit {
        limits.set(key, -1);
        client.set_data(&limits_path, Some(limits.to_string().as_bytes()), -1)?;
        return Ok(());
    }
    for name in [LIMITS, STATS] {
        client.delete(&format!("{own}/{name}"), -1)?;
    }
    // The znodes above that were only there for this quota.
    let mut above = own.as_str();
    while above != ROOT && client.get_children(above, false)?.is_empty() {
        client.delete(above, -1)?;
        above = above.rsplit_once('/').map_or(ROOT, |(parent, _)| parent);
    }
    Ok(())
}
