//! Commands about permissions, identities and the ensemble's configuration.

use super::words::Arguments;
use super::znodes::subtree;
use super::{Context, Problem, format};

pub(super) fn add_auth(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let scheme = arguments.required(0, "scheme")?;
    let auth = arguments.operand(1).unwrap_or_default().as_bytes();
    context.link.client()?.auth(scheme, auth)?;
    context.link.add_identity(scheme, auth);
    Ok(())
}

pub(super) fn who_am_i(context: &mut Context, _: &Arguments) -> Result<(), Problem> {
    let identities = context.link.client()?.who_am_i()?;
    writeln!(context.out, "Auth scheme: User")?;
    for identity in identities {
        writeln!(context.out, "{}: {}", identity.scheme, identity.user)?;
    }
    Ok(())
}

pub(super) fn get_acl(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let (acls, stat) = context.link.client()?.get_acl(arguments.path()?)?;
    for acl in &acls {
        write!(context.out, "{}", format::acl(acl))?;
    }
    if arguments.has("s") {
        write!(context.out, "{}", format::stat(&stat))?;
    }
    Ok(())
}

pub(super) fn set_acl(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let path = arguments.path()?;
    let acls = format::parse_acls(arguments.required(1, "acl")?).map_err(Problem::Usage)?;
    let version = arguments.number("v")?.unwrap_or(-1);
    let client = context.link.client()?;
    if arguments.has("R") {
        let mut refused = None;
        subtree(client, path, false, &mut |client, path| {
            match client.set_acl(path, acls.clone(), version) {
                Err(error) if error.code().is_none() => return Err(error.into()),
                Err(error) => refused = Some(Problem::from(error)),
                Ok(_) => {}
            }
            Ok(())
        })?;
        return refused.map_or(Ok(()), Err);
    }
    let stat = client.set_acl(path, acls, version)?;
    if arguments.has("s") {
        write!(context.out, "{}", format::stat(&stat))?;
    }
    Ok(())
}

/// The znode with the ensemble's configuration.
const CONFIG: &str = "/zookeeper/config";

pub(super) fn config(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let watch = arguments.has("w");
    let (data, stat) = context.link.client()?.get_data(CONFIG, watch)?;
    if watch {
        context.link.watches.data.push(CONFIG.into());
    }
    let text = String::from_utf8_lossy(data.as_deref().unwrap_or_default()).into_owned();
    match arguments.has("c") {
        true => writeln!(context.out, "{}", client_addresses(&text))?,
        false => writeln!(context.out, "{text}")?,
    }
    if arguments.has("s") {
        write!(context.out, "{}", format::stat(&stat))?;
    }
    Ok(())
}

/// The configuration's version, and the servers as a client connects to them.
fn client_addresses(config: &str) -> String {
    let mut version = "";
    let mut servers = Vec::new();
    for (key, value) in config.lines().filter_map(|line| line.split_once('=')) {
        match key.trim() {
            "version" => version = value.trim(),
            key if key.starts_with("server.") => {
                // host:port:port:role;clientHost:clientPort, the client's host being optional.
                let Some((server, client)) = value.trim().rsplit_once(';') else { continue };
                servers.push(match client.contains(':') {
                    true => client.to_owned(),
                    false => format!("{}:{client}", server.split(':').next().unwrap_or_default()),
                });
            }
            _ => {}
        }
    }
    format!("{version} {}", servers.join(","))
}

pub(super) fn reconfig(context: &mut Context, arguments: &Arguments) -> Result<(), Problem> {
    let usage = |text: &str| Err(Problem::Usage(text.to_owned()));
    let (file, members) = (arguments.value("file"), arguments.value("members"));
    let (add, remove) = (arguments.value("add"), arguments.value("remove"));
    let whole = file.is_some() || members.is_some();
    match (whole, add.is_some() || remove.is_some()) {
        (false, false) => return usage("-file, -members, -add or -remove is wanted"),
        (true, true) => return usage("-file and -members do not go with -add and -remove"),
        _ if file.is_some() && members.is_some() => return usage("-file does not go with -members"),
        _ => {}
    }
    let version = match arguments.value("v") {
        Some(text) => i64::from_str_radix(text, 16)
            .map_err(|_| Problem::Usage(format!("-v needs a version in hexadecimal, not `{text}`")))?,
        None => -1,
    };
    let members = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Problem::Other(format!("cannot read {path}: {error}")))?;
            let servers = text.lines().map(str::trim).filter(|line| line.starts_with("server."));
            Some(servers.collect::<Vec<_>>().join(","))
        }
        None => members.map(str::to_owned),
    };
    let lower = |text: Option<&str>| text.map(str::to_lowercase);
    let (add, remove, members) = (lower(add), lower(remove), lower(members.as_deref()));
    let (data, stat) =
        context.link.client()?.reconfig(add.as_deref(), remove.as_deref(), members.as_deref(), version)?;
    let text = String::from_utf8_lossy(data.as_deref().unwrap_or_default()).into_owned();
    writeln!(context.out, "Committed new configuration:\n{text}")?;
    if arguments.has("s") {
        write!(context.out, "{}", format::stat(&stat))?;
    }
    Ok(())
}

pub(super) fn version(context: &mut Context, _: &Arguments) -> Result<(), Problem> {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        context.out,
        "ZooKeeper CLI version: streamkeeper {version}, with the commands of ZooKeeper 3.9"
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_as_addresses() {
        let config = "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2;2182\nversion=100000000";
        assert_eq!(client_addresses(config), "100000000 0.0.0.0:2181,b:2182");
    }
}
