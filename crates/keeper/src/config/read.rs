//! From keys and values to a [`Config`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::known::{FLAGS, SILENT, effect_elsewhere};
use super::listen::{Listen, Server};
use super::settings::{Setting, Settings};
use super::*;

const MAX: i64 = i64::MAX;

/// The configuration that the settings make.
pub(super) fn config(mut settings: Settings) -> Result<(Config, Vec<Warning>)> {
    let s = &mut settings;
    add_dynamic(s)?;
    let written = s.written();
    flags_without_effect(s)?;
    let data_dir = s.path("dataDir").ok_or(ConfigError::Missing {
        key: "dataDir",
        need: "it says where the data is, such as dataDir=/var/lib/zookeeper",
    })?;
    let data_log_dir = s.path("dataLogDir").unwrap_or_else(|| data_dir.clone());
    let servers = servers(s)?;
    let my_id = my_id(&data_dir)?;
    let mut client = Listen::take(s, "clientPort", "clientPortAddress")?;
    if client.is_none() {
        let own = |server: &&Server| my_id.is_none_or(|id| id == server.id);
        client = servers.iter().find(own).and_then(|server| server.client.clone());
    }
    let secure_client = Listen::take(s, "secureClientPort", "secureClientPortAddress")?;
    if client.is_none() && secure_client.is_none() {
        return Err(ConfigError::Missing {
            key: "clientPort",
            need: "clients must be able to connect, such as by clientPort=2181; secureClientPort is for TLS",
        });
    }
    let (tick, min_session_timeout, max_session_timeout) = timeouts(s)?;
    let containers = containers(s, my_id)?;
    let port_unification = s.flag("client.portUnification", false)?;
    let secure = secure_client.is_some() || port_unification;
    let security = Security::take(s, secure)?;
    let tls = TlsSettings::take(s)?;
    if secure && tls.key_store.is_none() {
        return Err(ConfigError::Missing {
            key: "ssl.keyStore.location",
            need: "TLS needs the server's key and certificates: a file in PEM format with both",
        });
    }
    let config = Config {
        data_dir,
        data_log_dir,
        create_dirs: s.flag("datadir.autocreate", true)?,
        create_database: s.flag("db.autocreate", true)?,
        my_id,
        client,
        secure_client,
        listen_backlog: s
            .limit("clientPortListenBacklog", -1)?
            .map(|backlog| backlog.min(u32::MAX.into()) as u32),
        client_tcp_keep_alive: s.flag("clientTcpKeepAlive", false)?,
        tick,
        min_session_timeout,
        max_session_timeout,
        limits: limits(s)?,
        containers,
        storage: storage(s)?,
        four_letter_words: four_letter_words(s),
        admin: admin(s)?,
        metrics: metrics(s)?,
        security,
        tls,
        port_unification,
        audit: s.flag("audit.enable", false)?,
        reconfig_enabled: s.flag("reconfigEnabled", false)?,
        enforce_quota: s.flag("enforceQuota", false)?,
        servers,
        written,
    };
    for (key, setting) in s.rest() {
        match effect_elsewhere(&key) {
            _ if SILENT.contains(&key.as_str()) => {}
            Some(effect) => s.warn(&setting, format!("has no effect here: it {effect}")),
            None => s.warn(&setting, "no such key is known; it has no effect"),
        }
    }
    Ok((config, settings.warnings))
}

/// Adds the servers' lines of a dynamic configuration file.
fn add_dynamic(s: &mut Settings) -> Result<()> {
    let Some(setting) = s.take("dynamicConfigFile") else { return Ok(()) };
    let path = PathBuf::from(&setting.value);
    s.add_file(&path, &read_file("the dynamic configuration", &path)?)?;
    s.take("version");
    Ok(())
}

/// Takes out the switches that are as they must be here, and warns of others.
fn flags_without_effect(s: &mut Settings) -> Result<()> {
    for (key, here, effect) in FLAGS {
        if let Some(setting) = s.take(key)
            && setting.flag()? != *here
        {
            s.warn(&setting, format!("has no effect here: {effect}"));
        }
    }
    Ok(())
}

fn servers(s: &mut Settings) -> Result<Vec<Server>> {
    let standalone = s.flag("standaloneEnabled", true)?;
    let mut lines = s.take_all("server.");
    // Kerberos has keys of the same beginning.
    for at in (0..lines.len()).rev() {
        if matches!(&*lines[at].0, "principal" | "realm") {
            let (_, setting) = lines.remove(at);
            s.add(setting);
        }
    }
    let servers: Vec<Server> =
        lines.iter().map(|(id, setting)| Server::parse(id, setting)).collect::<Result<_>>()?;
    let voters = servers.iter().filter(|server| !server.observer).count();
    if servers.len() > 1 {
        return Err(ConfigError::Refused(format!(
            "{}: {} servers are configured, but this server does not form ensembles yet: leave one `server.` line \
             or none to run it alone, or run Apache ZooKeeper for an ensemble",
            lines[0].1.origin,
            servers.len()
        )));
    }
    if let (Some(server), 0) = (servers.first(), voters) {
        return Err(ConfigError::Refused(format!(
            "{}: server.{} is an observer, and there is no server with a vote",
            lines[0].1.origin, server.id
        )));
    }
    if !standalone {
        match lines.first() {
            Some((_, line)) => {
                s.warn(
                    line,
                    "with standaloneEnabled=false an ensemble of one; this server stands alone either way",
                );
            }
            None => {
                return Err(ConfigError::Refused(
                    "standaloneEnabled=false needs at least one `server.` line".to_owned(),
                ));
            }
        }
    }
    Ok(servers)
}

fn my_id(data_dir: &Path) -> Result<Option<i64>> {
    let path = data_dir.join("myid");
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = read_file("the server's number", &path)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default().trim();
    match line.parse() {
        Ok(id) if (0..=255).contains(&id) => Ok(Some(id)),
        _ => Err(ConfigError::Refused(format!(
            "{}: `{line}` is no server's number: it must be a whole number from 0 to 255",
            path.display()
        ))),
    }
}

fn timeouts(s: &mut Settings) -> Result<(Duration, Duration, Duration)> {
    let ticks = |ms: i64| Duration::from_millis(ms as u64);
    let most: i64 = i32::MAX.into();
    let tick = s.int("tickTime", 3000, 1..=most / 20)?;
    let mut timeout = |key: &str, ticks: i64| -> Result<i64> {
        let value = s.int(key, -1, -1..=most)?;
        Ok(if value == -1 { tick * ticks } else { value })
    };
    let (min, max) = (timeout("minSessionTimeout", 2)?, timeout("maxSessionTimeout", 20)?);
    if min > max {
        return Err(ConfigError::Refused(format!(
            "minSessionTimeout ({min} ms) must not be longer than maxSessionTimeout ({max} ms)"
        )));
    }
    Ok((ticks(tick), ticks(min), ticks(max)))
}

fn limits(s: &mut Settings) -> Result<Limits> {
    let count = |value: Option<u64>| value.map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    let weighted = s.flag("connection_throttle_weight_enabled", false)?;
    let global = s.u32("connection_throttle_global_session_weight", 3)?;
    let renewed = s.u32("connection_throttle_renew_session_weight", 2)?;
    let _local = s.u32("connection_throttle_local_session_weight", 1)?;
    let freeze = s.int("connectionFreezeTime", -1, -1..=MAX)?;
    Ok(Limits {
        max_client_cnxns: count(s.limit("maxClientCnxns", 60)?),
        max_cnxns: count(s.limit("maxCnxns", 0)?),
        max_packet_bytes: s.int("jute.maxbuffer", 0xf_ffff, 1..=i32::MAX.into())? as u32,
        global_outstanding: s.int("globalOutstandingLimit", 1000, 1..=i32::MAX.into())? as u32,
        large_request_max_bytes: s.int("largeRequestMaxBytes", 100 << 20, 1..=MAX)? as u64,
        large_request_threshold: s.limit("largeRequestThreshold", -1)?,
        sessionless_timeout: s.millis("nio.sessionlessCnxnTimeout", 10_000)?,
        connections: ConnectionThrottle {
            max_tokens: count(s.limit("connectionMaxTokens", 0)?),
            fill_time: s.millis("connectionTokenFillTime", 1)?,
            fill_count: s.u32("connectionTokenFillCount", 1)?,
            freeze_time: u64::try_from(freeze).ok().map(Duration::from_millis),
            drop_increase: s.float("connectionDropIncrease", 0.02)?,
            drop_decrease: s.float("connectionDropDecrease", 0.002)?,
            decrease_ratio: s.float("connectionDecreaseRatio", 0.0)?,
            weights: weighted.then_some((global, renewed)),
        },
        request_throttle: count(s.limit("requestThrottleLimit", 0)?),
    })
}

fn containers(s: &mut Settings, my_id: Option<i64>) -> Result<Containers> {
    if let Some(setting) = s.take("emulate353TTLNodes")
        && setting.flag()?
    {
        return Err(setting.wrong("TTL nodes as ZooKeeper 3.5.3 wrote them are not understood", "false"));
    }
    let asked = s.has("extendedTypesEnabled");
    let mut extended_types = s.flag("extendedTypesEnabled", true)?;
    if extended_types && my_id == Some(255) {
        if asked {
            return Err(ConfigError::Refused(
                "extendedTypesEnabled=true allows no server whose number is 255: such sessions' ids look like TTLs"
                    .to_owned(),
            ));
        }
        extended_types = false;
    }
    Ok(Containers {
        extended_types,
        check_interval: Duration::from_millis(s.int(
            "znode.container.checkIntervalMs",
            60_000,
            1..=i32::MAX.into(),
        )? as u64),
        max_per_minute: s.int("znode.container.maxPerMinute", 10_000, 1..=i32::MAX.into())? as u32,
        max_never_used: s.limit("znode.container.maxNeverUsedIntervalMs", 0)?.map(Duration::from_millis),
    })
}

fn storage(s: &mut Settings) -> Result<Storage> {
    let bytes = |kib: u64| kib.saturating_mul(1024);
    Ok(Storage {
        pre_alloc_bytes: bytes(s.int("preAllocSize", 65_536, 0..=MAX >> 10)? as u64),
        snap_count: snap_count(s)?,
        snap_size_limit_bytes: s.limit("snapSizeLimitInKb", 4_194_304)?.map(bytes),
        txn_log_size_limit_bytes: s.limit("txnLogSizeLimitInKb", -1)?.map(bytes),
        purge_interval: purge_interval(s)?,
        snap_retain_count: snap_retain_count(s)?,
        force_sync: force_sync(s),
        fsync_warning: s.millis("fsync.warningthresholdms", 1000)?,
        compression: compression(s)?,
        trust_empty: s.flag("snapshot.trust.empty", false)?,
        digest: s.flag("digest.enabled", true)?,
        close_session_paths: s.flag("closeSessionTxn.enabled", true)?,
    })
}

/// Apache raises a smaller number to 2 as well.
fn snap_count(s: &mut Settings) -> Result<u32> {
    Ok(s.int("snapCount", 100_000, i32::MIN.into()..=i32::MAX.into())?.max(2) as u32)
}

fn snap_retain_count(s: &mut Settings) -> Result<u32> {
    let Some(setting) = s.take("autopurge.snapRetainCount") else { return Ok(3) };
    let copy = setting.clone();
    s.add(setting);
    let count = s.int("autopurge.snapRetainCount", 3, i32::MIN.into()..=i32::MAX.into())?;
    if count < 3 {
        s.warn(&copy, "at least 3 snapshots stay");
    }
    Ok(count.max(3) as u32)
}

/// In hours, or with a unit: `ms`, `s`, `m`, `h`, `d`.
fn purge_interval(s: &mut Settings) -> Result<Option<Duration>> {
    let Some(setting) = s.take("autopurge.purgeInterval") else { return Ok(Some(Duration::from_secs(3600))) };
    let value = setting.value.as_str();
    let digits = value.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let unit_ms = match &value[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "" | "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(setting.wrong("no such unit", "hours, or a number with ms, s, m, h or d; 0: never")),
    };
    match digits.trim().parse::<i64>() {
        Ok(number) if number <= 0 => Ok(None),
        Ok(number) => Ok(Some(Duration::from_millis((number as u64).saturating_mul(unit_ms)))),
        Err(_) => {
            Err(setting.wrong("not a whole number", "hours, or a number with ms, s, m, h or d; 0: never"))
        }
    }
}

/// Only `no` switches it off, as in Apache.
fn force_sync(s: &mut Settings) -> bool {
    let Some(setting) = s.take("forceSync") else { return true };
    match setting.value.as_str() {
        "no" => {
            s.warn(&setting, "writes are answered before they are on disk: a loss of power loses them");
            false
        }
        "yes" => true,
        _ => {
            s.warn(&setting, "only `no` switches it off: writes wait for the disk");
            true
        }
    }
}

fn compression(s: &mut Settings) -> Result<Compression> {
    let Some(setting) = s.take("snapshot.compression.method") else { return Ok(Compression::None) };
    match setting.value.as_str() {
        "" => Ok(Compression::None),
        "gz" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        _ => Err(setting.wrong("no such method", "gz, snappy, or nothing")),
    }
}

fn four_letter_words(s: &mut Settings) -> FourLetterWords {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let Some(setting) = s.take("4lw.commands.whitelist") else {
        return FourLetterWords::These(owned(FourLetterWords::HARMLESS));
    };
    let mut words = BTreeSet::new();
    for word in setting.value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if word == "*" {
            return FourLetterWords::All;
        }
        if FourLetterWords::KNOWN.contains(&word) {
            words.insert(word.to_owned());
        } else {
            s.warn(&setting, format!("there is no command `{word}`"));
        }
    }
    FourLetterWords::These(words)
}

/// Whoever asks for encryption or certificates must not get a server without them.
const PLAIN_HTTP: &str =
    "this server speaks plain HTTP only; listen on 127.0.0.1, and put a proxy that speaks HTTPS in front";

fn admin(s: &mut Settings) -> Result<Option<Admin>> {
    let on = s.flag("admin.enableServer", true)?;
    for key in ["admin.forceHttps", "admin.portUnification", "admin.needClientAuth"] {
        if let Some(setting) = s.take(key)
            && setting.flag()?
            && on
        {
            return Err(setting.wrong(PLAIN_HTTP, "false"));
        }
    }
    let admin = Admin {
        listen: Listen {
            host: Some(s.text("admin.serverAddress").unwrap_or_else(|| "0.0.0.0".to_owned())),
            port: s.port("admin.serverPort")?.unwrap_or(8080),
        },
        command_url: s.text("admin.commandURL").unwrap_or_else(|| "/commands".to_owned()),
        snapshot: s.flag("admin.snapshot.enabled", true)?,
        restore: s.flag("admin.restore.enabled", true)?,
        rate_limit_interval: s.millis("admin.rateLimiterIntervalInMS", 300_000)?,
    };
    Ok(on.then_some(admin))
}

fn metrics(s: &mut Settings) -> Result<Option<Metrics>> {
    let class = s.take("metricsProvider.className");
    let prometheus = class.as_ref().is_some_and(|class| class.value.ends_with(".PrometheusMetricsProvider"));
    if !prometheus {
        if let Some(class) = class
            && !["", ".DefaultMetricsProvider", ".NullMetricsProvider"]
                .iter()
                .any(|known| class.value == *known || !known.is_empty() && class.value.ends_with(known))
        {
            s.warn(
                &class,
                "no such provider is known; metrics are at the four-letter word `mntr` and the AdminServer",
            );
        }
        return Ok(None);
    }
    let host = Some(s.text("metricsProvider.httpHost").unwrap_or_else(|| "0.0.0.0".to_owned()));
    if let Some(setting) = s.take("metricsProvider.httpsPort") {
        return Err(setting.wrong(PLAIN_HTTP, "metricsProvider.httpPort alone"));
    }
    let port = s.port("metricsProvider.httpPort")?.unwrap_or(7000);
    Ok(Some(Metrics { listen: Listen { host, port } }))
}

impl Settings {
    /// All settings as they are written, but for secrets.
    fn written(&self) -> BTreeMap<String, String> {
        let shown = |setting: &Setting| match setting.key.to_ascii_lowercase() {
            key if key.ends_with("password") || key.ends_with("superdigest") || key.contains("jaas") => {
                "***".to_owned()
            }
            _ => setting.value.clone(),
        };
        self.iter().map(|setting| (setting.key.clone(), shown(setting))).collect()
    }
}
