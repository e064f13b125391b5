//! Apache ZooKeeper's keys that have no effect here, and what they would do there.

/// What a key would do in Apache ZooKeeper, or `None` when it is not one of its keys. A name that ends in `.` stands for all keys that
/// begin with it.
pub(super) fn effect_elsewhere(key: &str) -> Option<&'static str> {
    WITHOUT_EFFECT
        .iter()
        .find(|(name, _)| if name.ends_with('.') { key.starts_with(name) } else { key == *name })
        .map(|(_, effect)| *effect)
}

/// Keys that need no words: they tell Apache ZooKeeper to do what is always so here, or what `zoo_sample.cfg` sets for ensembles.
pub(super) const SILENT: &[&str] = &["serverCnxnFactory", "initLimit", "syncLimit"];

/// Switches that are always one way here: their keys, how they are, and what there is to know when they are set the other way.
pub(super) const FLAGS: &[(&str, bool, &str)] = &[
    (
        "serializeLastProcessedZxid.enabled",
        true,
        "snapshots always say up to which transaction they go; versions before 3.9 read past it",
    ),
    ("client.certReload", false, "certificates are read at the start: restart the server to renew them"),
    (
        "IPAuthenticationProvider.usexforwardedfor",
        false,
        "no proxy is believed about its client's address: `ip` is the address of the connection",
    ),
];

const ENSEMBLE: &str = "concerns the servers of an ensemble; this server stands alone";
const ELECTION: &str = "tunes leader elections of an ensemble; this server stands alone";
const QUORUM_TLS: &str = "sets up TLS between the servers of an ensemble; this server stands alone";
const QUORUM_SASL: &str = "sets up SASL between the servers of an ensemble; this server stands alone";
const WATCHES: &str = "tunes how Apache's optimized watch manager cleans up; watches here need no cleaner";
const THREADS: &str = "sizes a pool of threads that this server does not have";
const CACHE: &str = "sizes a cache of encoded answers; answers are encoded at no such cost here";
const KERBEROS: &str = "concerns Kerberos, which this server does not speak";
const PAUSES: &str = "watches for pauses of the JVM's garbage collector; there is none here";
const CLIENT: &str = "configures Apache's client, not a server";
const PATHS: &str = "counts requests by path for the command `top`; this server does not";
const WAITING: &str = "concerns requests in the server's queue; here a client's requests wait in its socket, and none is dropped";
const BATCHES: &str = "tunes how transactions are gathered for one flush; here a batch is what has come while the last one was flushed";
const PROMETHEUS: &str = "belongs to Prometheus, which is off: set metricsProvider.className=\
                          org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider to have it";
const LOGGING: &str =
    "configures logging of the JVM; the environment variable STREAMKEEPER_LOG sets the level here";

const WITHOUT_EFFECT: &[(&str, &str)] = &[
    // Ensembles.
    ("observerMasterPort", ENSEMBLE),
    ("connectToLearnerMasterLimit", ENSEMBLE),
    ("quorumListenOnAllIPs", ENSEMBLE),
    ("peerType", ENSEMBLE),
    ("syncEnabled", ENSEMBLE),
    ("leaderServes", ENSEMBLE),
    ("group.", ENSEMBLE),
    ("weight.", ENSEMBLE),
    ("multiAddress.", ENSEMBLE),
    ("oraclePath", ENSEMBLE),
    ("tcpKeepAlive", ENSEMBLE),
    ("commitLogCount", ENSEMBLE),
    ("snapshotSizeFactor", ENSEMBLE),
    ("forceSnapshotSync", ENSEMBLE),
    ("maxConcurrentSnapSyncs", ENSEMBLE),
    ("maxConcurrentDiffSyncs", ENSEMBLE),
    ("maxTimeToWaitForEpoch", ENSEMBLE),
    ("leader.", ENSEMBLE),
    ("learner.", ENSEMBLE),
    ("follower.", ENSEMBLE),
    ("observer.", ENSEMBLE),
    ("observerMaster.", ENSEMBLE),
    ("leaderConnectDelayDuringRetryMs", ENSEMBLE),
    ("forward_learner_requests_to_commit_processor_disabled", ENSEMBLE),
    (
        "enableEagerACLCheck",
        "checks permissions before a request goes to the leader; here they are checked at once anyway",
    ),
    (
        "readonlymode.enabled",
        "lets a server that has lost its ensemble go on serving reads; this server stands alone",
    ),
    ("localSessionsEnabled", "keeps sessions out of the ensemble's log; this server logs all of its own"),
    ("localSessionsUpgradingEnabled", "turns local sessions into global ones; all sessions here are global"),
    ("electionAlg", ELECTION),
    ("cnxTimeout", ELECTION),
    ("quorumCnxnTimeoutMs", ELECTION),
    ("electionPortBindRetry", ELECTION),
    ("fastleader.", ELECTION),
    ("quorum.cnxn.threads.size", ELECTION),
    ("sslQuorum", QUORUM_TLS),
    ("sslQuorumReloadCertFiles", QUORUM_TLS),
    ("portUnification", QUORUM_TLS),
    ("ssl.quorum.", QUORUM_TLS),
    ("quorum.auth.", QUORUM_SASL),
    ("messageTracker.", "records messages between the servers of an ensemble; this server stands alone"),
    // How Apache's server is built.
    ("maxResponseCacheSize", CACHE),
    ("maxGetChildrenResponseCacheSize", CACHE),
    ("watchManagerName", WATCHES),
    ("watcherCleanThreadsNum", WATCHES),
    ("watcherCleanThreshold", WATCHES),
    ("watcherCleanIntervalInSeconds", WATCHES),
    ("maxInProcessingDeadWatchers", WATCHES),
    ("bitHashCacheSize", WATCHES),
    ("nio.numSelectorThreads", THREADS),
    ("nio.numWorkerThreads", THREADS),
    ("nio.directBufferBytes", "sizes a thread's buffer; buffers here grow and shrink with their connection"),
    ("nio.shutdownTimeout", THREADS),
    ("commitProcessor.", THREADS),
    ("intBufferStartingSizeBytes", "sizes a buffer of Apache's server"),
    (
        "advancedFlowControlEnabled",
        "tunes Netty; a client that does not read its answers is not read from here",
    ),
    ("maxWriteQueuePollTime", BATCHES),
    ("flushDelay", BATCHES),
    ("maxBatchSize", BATCHES),
    (
        "jute.maxbuffer.extrasize",
        "allows transactions to be longer than requests; here it is no limit of its own",
    ),
    (
        "netty.server.earlyDropSecureConnectionHandshakes",
        "drops TLS connections until the server is up; here they wait until it is",
    ),
    (
        "request_throttler.shutdownTimeout",
        "waits for queued requests when the server stops; here it stops at once, and clients of unanswered requests \
         lose their connection",
    ),
    ("jvm.pause.", PAUSES),
    ("pathStats.", PATHS),
    ("jmx.", LOGGING),
    ("log.dir", LOGGING),
    ("log.file", LOGGING),
    ("log.threshold", LOGGING),
    ("root.logger", LOGGING),
    ("console.threshold", LOGGING),
    ("auditlog.", LOGGING),
    ("audit.impl.class", "names a Java class that writes the audit log; here it goes to the log"),
    // Throttles.
    ("requestThrottleStallTime", WAITING),
    ("requestThrottleDropStale", WAITING),
    ("requestStaleLatencyCheck", WAITING),
    ("requestStaleConnectionCheck", WAITING),
    ("throttledOpWaitTime", WAITING),
    (
        "outstandingHandshake.limit",
        "limits how many TLS handshakes Netty does at once; here a client without a session has little time and memory",
    ),
    // TLS.
    (
        "ssl.handshakeDetectionTimeoutMillis",
        "limits how long port unification waits for a client's first bytes; see nio.sessionlessCnxnTimeout",
    ),
    ("ssl.protocol", "names the JVM's TLS context; see ssl.enabledProtocols"),
    ("ssl.context.supplier.class", "names a Java class that makes TLS contexts"),
    ("ssl.sslProvider", "chooses among the JVM's TLS implementations"),
    ("ssl.hostnameVerification", "concerns servers' names, which a server does not look at"),
    ("ssl.allowReverseDnsLookup", "looks up names of clients' addresses, which this server does not do"),
    ("ssl.authProvider", "names the scheme of a custom Java provider for certificates"),
    ("ssl.tcnative.", "configures a native TLS library of Netty"),
    ("fips-mode", "restricts the JVM's cryptography; DIGEST-MD5 works here either way"),
    // Kerberos.
    ("kerberos.", KERBEROS),
    ("kinit", KERBEROS),
    ("requireKerberosConfig", KERBEROS),
    ("security.auth_to_local", KERBEROS),
    ("server.principal", KERBEROS),
    ("server.realm", KERBEROS),
    ("java.security.krb5.", KERBEROS),
    // Clients.
    ("clientCnxnSocket", CLIENT),
    ("client.secure", CLIENT),
    ("sasl.client", CLIENT),
    ("sasl.client.", CLIENT),
    ("sasl.clientconfig", CLIENT),
    ("disableAutoWatchReset", CLIENT),
    ("request.timeout", CLIENT),
    ("shuffleDnsResponse", CLIENT),
    ("hostProvider.", CLIENT),
    ("admin.httpVersion", "chooses the version of HTTP; clients and server agree on one here"),
    (
        "admin.idleTimeout",
        "closes silent connections to the AdminServer; here they stay until their client closes them",
    ),
    ("metricsProvider.httpHost", PROMETHEUS),
    ("metricsProvider.httpPort", PROMETHEUS),
    ("metricsProvider.httpsPort", PROMETHEUS),
    ("metricsProvider.exportJvmInfo", "adds figures of the JVM; there is none here"),
    ("metricsProvider.numWorkerThreads", THREADS),
    ("metricsProvider.workerShutdownTimeoutMs", THREADS),
    ("metricsProvider.maxQueueSize", THREADS),
    ("metricsProvider.", "configures a metrics provider that this server does not have"),
    ("test.", "is for Apache's own tests"),
    ("testingonly.", "is for Apache's own tests"),
];
