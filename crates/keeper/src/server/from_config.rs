//! From a configuration to a running server.

use std::io::Read;

use super::{Keeper, ServerError, ServerOptions, StorageOptions};
use crate::admin::{AdminOptions, MetricsOptions};
use crate::config::{Config, FourLetterWords, Listen};
use crate::storage::{LogOptions, RecoverOptions};

impl Keeper {
    /// Starts a server as a configuration says. `text`: the configuration file's text, which the admin server shows.
    ///
    /// # Errors
    /// See [`Keeper::start`]; or an address cannot be resolved.
    pub fn from_config(config: &Config, text: &str) -> Result<Keeper, ServerError> {
        Keeper::start(options(config, text)?)
    }
}

/// The options that a configuration comes to.
fn options(config: &Config, text: &str) -> Result<ServerOptions, ServerError> {
    let mut core = config.core_options();
    core.authentication.nonce_seed = random_bytes()?;
    let addresses = |listen: &Option<Listen>| match listen {
        Some(listen) => resolve(listen),
        None => Ok(Vec::new()),
    };
    let admin = config.admin.as_ref().map(|admin| -> Result<_, ServerError> {
        Ok(AdminOptions {
            addresses: resolve(&admin.listen)?,
            command_url: admin.command_url.clone(),
            snapshot: admin.snapshot,
            restore: admin.restore,
            restore_interval: admin.rate_limit_interval,
            max_restore_bytes: AdminOptions::MAX_RESTORE_BYTES,
            compression: config.storage.compression,
        })
    });
    let metrics = config.metrics.as_ref().map(|metrics| -> Result<_, ServerError> {
        Ok(MetricsOptions { addresses: resolve(&metrics.listen)? })
    });
    let tls = config.secure_client.is_some() || config.port_unification;
    let tls = tls.then(|| crate::tls::server_config(&config.tls)).transpose()?;
    Ok(ServerOptions {
        client_addresses: addresses(&config.client)?,
        secure_client_addresses: addresses(&config.secure_client)?,
        listen_backlog: config.listen_backlog,
        tcp_keep_alive: config.client_tcp_keep_alive,
        tls,
        port_unification: config.port_unification,
        x509_super_user: config.security.x509_super_user.clone(),
        max_packet_bytes: config.limits.max_packet_bytes as usize,
        max_connections_per_address: config.limits.max_client_cnxns.unwrap_or(0) as usize,
        max_connections: config.limits.max_cnxns.unwrap_or(0) as usize,
        sessionless_timeout: config.limits.sessionless_timeout,
        commands: commands(&config.four_letter_words),
        storage: Some(storage(config)),
        admin: admin.transpose()?,
        metrics: metrics.transpose()?,
        settings: config.written.clone(),
        initial_configuration: text.to_owned(),
        core,
    })
}

fn storage(config: &Config) -> StorageOptions {
    let storage = &config.storage;
    StorageOptions {
        data_dir: config.data_dir.clone(),
        data_log_dir: Some(config.data_log_dir.clone()),
        recover: RecoverOptions {
            extended_types: config.containers.extended_types,
            trust_empty_snapshot: storage.trust_empty,
            autocreate: config.create_database,
            check_digest: storage.digest,
            compression: config.storage.compression,
            log: LogOptions {
                preallocate_bytes: storage.pre_alloc_bytes,
                size_limit_bytes: storage.txn_log_size_limit_bytes,
                force_sync: storage.force_sync,
            },
        },
        create_dirs: config.create_dirs,
        snapshot_transactions: storage.snap_count.into(),
        snapshot_log_bytes: storage.snap_size_limit_bytes.unwrap_or(0),
        compression: config.storage.compression,
        purge: storage.purge_interval.map(|interval| (storage.snap_retain_count as usize, interval)),
        slow_sync: storage.fsync_warning,
        ..StorageOptions::new(&config.data_dir)
    }
}

fn commands(words: &FourLetterWords) -> Vec<String> {
    FourLetterWords::KNOWN.iter().filter(|word| words.allows(word)).map(|word| (*word).to_owned()).collect()
}

fn resolve(listen: &Listen) -> Result<Vec<std::net::SocketAddr>, ServerError> {
    listen
        .resolve()
        .map_err(|source| ServerError::Resolve { host: listen.host.clone().unwrap_or_default(), source })
}

/// Bytes that nobody can guess.
fn random_bytes() -> Result<[u8; 32], ServerError> {
    let mut bytes = [0; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|source| ServerError::System { doing: "read random bytes", source })?;
    Ok(bytes)
}
