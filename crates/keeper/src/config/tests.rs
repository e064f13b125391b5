use super::*;
use crate::authentication::DigestAlgorithm;

const BASE: [(&str, &str); 2] = [("dataDir", "/nowhere/zk"), ("clientPort", "2181")];

fn with(pairs: &[(&str, &str)]) -> Result<(Config, Vec<Warning>)> {
    Config::from_pairs(BASE.iter().chain(pairs).copied())
}

fn good(pairs: &[(&str, &str)]) -> Config {
    with(pairs).unwrap().0
}

fn bad(pairs: &[(&str, &str)]) -> String {
    with(pairs).unwrap_err().to_string()
}

fn warnings(pairs: &[(&str, &str)]) -> Vec<String> {
    with(pairs).unwrap().1.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_zookeepers() {
    let (config, warnings) = with(&[]).unwrap();
    assert_eq!(warnings, []);
    let ms = Duration::from_millis;
    assert_eq!(config.data_log_dir, Path::new("/nowhere/zk"));
    assert_eq!(config.client, Some(Listen { host: None, port: 2181 }));
    assert_eq!(config.secure_client, None);
    let times = (config.tick, config.min_session_timeout, config.max_session_timeout);
    assert_eq!(times, (ms(3000), ms(6000), ms(60_000)));
    assert_eq!(config.limits.max_client_cnxns, Some(60));
    assert_eq!(config.limits.max_cnxns, None);
    assert_eq!(config.limits.max_packet_bytes, 1_048_575);
    assert_eq!(config.limits.global_outstanding, 1000);
    assert_eq!(config.limits.large_request_max_bytes, 100 * 1024 * 1024);
    assert_eq!(config.limits.large_request_threshold, None);
    assert_eq!(config.storage.pre_alloc_bytes, 64 << 20);
    assert_eq!(config.storage.snap_count, 100_000);
    assert_eq!(config.storage.snap_size_limit_bytes, Some(4 << 30));
    assert_eq!(config.storage.txn_log_size_limit_bytes, None);
    assert!(config.storage.force_sync && config.storage.digest && !config.storage.trust_empty);
    assert_eq!(config.tls.client_auth, ClientAuth::Need);
    let admin = config.admin.clone().unwrap();
    assert_eq!(admin.listen, Listen { host: Some("0.0.0.0".to_owned()), port: 8080 });
    assert_eq!((&*admin.command_url, admin.rate_limit_interval), ("/commands", ms(300_000)));
    assert!(config.metrics.is_none());
    // What differs from Apache.
    assert_eq!(config.storage.purge_interval, Some(Duration::from_secs(3600)));
    assert_eq!(config.storage.snap_retain_count, 3);
    assert!(config.containers.extended_types);
    let allowed: Vec<_> =
        FourLetterWords::KNOWN.iter().filter(|word| config.four_letter_words.allows(word)).collect();
    assert_eq!(allowed, FourLetterWords::HARMLESS.iter().collect::<Vec<_>>());

    let core = config.core_options();
    assert_eq!((core.server_id, core.tick_ms), (1, 3000));
    assert_eq!((core.min_session_timeout_ms, core.max_session_timeout_ms), (6000, 60_000));
    assert_eq!(core.access.disabled_schemes, ["x509", "sasl"]);
    assert!(core.prep.digest && core.prep.close_session_paths && !core.prep.enforce_quota);
}

#[test]
fn an_embedded_server_is_as_one_whose_configuration_sets_nothing() {
    let defaults = CoreOptions::default();
    let mut configured = good(&[]).core_options();
    // Lists of permissions may name schemes where there is something that proves them; a program adds that by itself.
    configured.access.disabled_schemes.clone_from(&defaults.access.disabled_schemes);
    configured.authentication.disabled_schemes.clone_from(&defaults.authentication.disabled_schemes);
    assert_eq!(format!("{configured:#?}"), format!("{defaults:#?}"));
}

#[test]
fn values_are_read_with_their_units() {
    let config = good(&[
        ("tickTime", "2000"),
        ("minSessionTimeout", "4000"),
        ("zookeeper.preAllocSize", "100"),
        ("jute.maxbuffer", "0x1fffff"),
        ("maxClientCnxns", "0"),
        ("maxCnxns", "7"),
        ("autopurge.purgeInterval", "24"),
        ("zookeeper.request_throttle_max_requests", "12"),
        ("connectionMaxTokens", "3"),
        ("clientPortAddress", "localhost"),
        ("snapshot.compression.method", "gz"),
        ("forceSync", "no"),
        ("4lw.commands.whitelist", "stat, ruok,wchc"),
        ("metricsProvider.className", "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"),
        ("zookeeper.superUser", "kate"),
        ("superUser.1", "joe"),
        ("znode.container.maxNeverUsedIntervalMs", "5000"),
        ("zookeeper.enforceQuota", "TRUE"),
        ("zookeeper.DigestAuthenticationProvider.digestAlg", "SHA-256"),
    ]);
    assert_eq!(config.max_session_timeout, Duration::from_secs(40));
    assert_eq!(config.storage.pre_alloc_bytes, 102_400);
    assert_eq!(config.limits.max_packet_bytes, 0x1f_ffff);
    assert_eq!((config.limits.max_client_cnxns, config.limits.max_cnxns), (None, Some(7)));
    assert_eq!(config.storage.purge_interval, Some(Duration::from_secs(24 * 3600)));
    assert_eq!(config.limits.request_throttle, Some(12));
    assert_eq!(config.limits.connections.max_tokens, Some(3));
    assert_eq!(config.client.as_ref().unwrap().host.as_deref(), Some("localhost"));
    assert_eq!(config.storage.compression, Compression::Gzip);
    assert!(!config.storage.force_sync && config.enforce_quota);
    assert!(config.four_letter_words.allows("wchc") && !config.four_letter_words.allows("srvr"));
    assert_eq!(config.metrics.as_ref().unwrap().listen.port, 7000);
    assert_eq!(config.security.sasl_super_users, ["joe", "kate"]);
    assert_eq!(config.core_options().container_max_never_used_ms, 5000);
    assert_eq!(config.security.digest_algorithm, DigestAlgorithm::Sha256);
    for (text, interval) in
        [("10m", Some(600)), ("5h", Some(18_000)), ("1d", Some(86_400)), ("0", None), ("-1", None)]
    {
        let config = good(&[("autopurge.purgeInterval", text)]);
        assert_eq!(config.storage.purge_interval, interval.map(Duration::from_secs), "{text}");
    }
    assert_eq!(good(&[("4lw.commands.whitelist", "*")]).four_letter_words, FourLetterWords::All);
    assert!(good(&[("admin.enableServer", "false")]).admin.is_none());
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let option = "given as an option: ";
    for (pairs, wanted) in [
        (
            &[("clientPort", "x")][..],
            "clientPort=x: not a whole number; allowed: a whole number from 0 to 65535",
        ),
        (
            &[("clientPort", "70000")],
            "clientPort=70000: out of range; allowed: a whole number from 0 to 65535",
        ),
        (
            &[("zookeeper.digest.enabled", "on")],
            "zookeeper.digest.enabled=on: neither true nor false; allowed: true, false",
        ),
        (
            &[("snapshot.compression.method", "zstd")],
            "snapshot.compression.method=zstd: no such method; allowed: gz, snappy, or nothing",
        ),
        (
            &[("maxClientCnxns", "many")],
            "maxClientCnxns=many: not a whole number; allowed: a whole number; 0 or less: no limit",
        ),
        (
            &[("snapCount", "3000000000")],
            "snapCount=3000000000: out of range; allowed: a whole number of at most 2147483647",
        ),
        (
            &[("fsync.warningthresholdms", "99999999999999999999")],
            "fsync.warningthresholdms=99999999999999999999: out of range; allowed: a whole number of at least 0",
        ),
        (&[("ssl.clientAuth", "maybe")], "ssl.clientAuth=maybe: no such choice; allowed: need, want, none"),
        (
            &[("secureClientPortAddress", "::1")],
            "secureClientPortAddress=::1: set, but secureClientPort is not; allowed: set secureClientPort as well",
        ),
        (
            &[("server.1", "a")],
            "server.1=a: no port; allowed: server.N=host:port:port[:participant|observer][;[host:]port]",
        ),
    ] {
        assert_eq!(bad(pairs), format!("{option}{wanted}"));
    }
    for (pairs, wanted) in [
        (&[("tickTime", "0")][..], "out of range"),
        (&[("minSessionTimeout", "7000"), ("maxSessionTimeout", "6000")], "must not be longer"),
        (&[("server.1", "a:1:2"), ("server.2", "b:1:2")], "does not form ensembles yet"),
        (&[("server.1", "a:1:2:observer")], "no server with a vote"),
        (&[("standaloneEnabled", "false")], "at least one `server.` line"),
        (&[("enforce.auth.enabled", "true")], "enforce.auth.schemes is not set"),
        (&[("enforce.auth.enabled", "true"), ("enforce.auth.schemes", "sasl")], "not available"),
        (&[("sessionRequireClientSASLAuth", "true")], "sasl is not available"),
        (&[("secureClientPort", "2281")], "ssl.keyStore.location is not set"),
        (&[("emulate353TTLNodes", "true")], "not understood"),
        (&[("DigestAuthenticationProvider.digestAlg", "RipeMD160")], "SHA-512"),
        (
            &[("java.security.auth.login.config", "/nowhere/jaas")],
            "cannot read the JAAS configuration /nowhere/jaas",
        ),
        (&[("dynamicConfigFile", "/nowhere/dynamic")], "cannot read the dynamic configuration"),
    ] {
        let told = bad(pairs);
        assert!(told.contains(wanted), "{pairs:?}: {told}");
    }
    let prometheus = ("metricsProvider.className", "x.PrometheusMetricsProvider");
    for pairs in [
        &[("admin.forceHttps", "true")][..],
        &[("admin.needClientAuth", "true")],
        &[("admin.portUnification", "true")],
        &[prometheus, ("metricsProvider.httpsPort", "7443")],
        &[prometheus, ("metricsProvider.httpsPort", "7443"), ("metricsProvider.httpPort", "7000")],
    ] {
        let told = bad(pairs);
        assert!(told.contains("this server speaks plain HTTP only"), "{pairs:?}: {told}");
    }
    // Nothing is served that would have to be encrypted.
    good(&[("admin.enableServer", "false"), ("admin.forceHttps", "true")]);
    good(&[("admin.forceHttps", "false"), ("admin.needClientAuth", "false")]);
    let none: [(&str, &str); 0] = [];
    assert!(Config::from_pairs(none).unwrap_err().to_string().starts_with("dataDir is not set"));
    assert!(
        Config::from_pairs([("dataDir", "/x")]).unwrap_err().to_string().starts_with("clientPort is not set")
    );
}

#[test]
fn keys_without_effect_say_what_they_would_do() {
    let option = "given as an option: ";
    for (key, value, wanted) in [
        (
            "nio.numSelectorThreads",
            "2",
            "has no effect here: it sizes a pool of threads that this server does not have",
        ),
        (
            "zookeeper.kinit",
            "x",
            "has no effect here: it concerns Kerberos, which this server does not speak",
        ),
        (
            "ssl.quorum.keyStore.location",
            "x",
            "has no effect here: it sets up TLS between the servers of an ensemble; this server stands alone",
        ),
        ("snapcount", "1", "no such key is known; it has no effect"),
        (
            "zookeeper.flushDelay",
            "5",
            "has no effect here: it tunes how transactions are gathered for one flush; here a batch is what has come while \
             the last one was flushed",
        ),
        (
            "serializeLastProcessedZxid.enabled",
            "false",
            "has no effect here: snapshots always say up to which transaction they go; versions before 3.9 read past it",
        ),
        (
            "client.certReload",
            "true",
            "has no effect here: certificates are read at the start: restart the server to renew them",
        ),
        (
            "metricsProvider.httpPort",
            "7000",
            "has no effect here: it belongs to Prometheus, which is off: set metricsProvider.className=\
             org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider to have it",
        ),
        ("forceSync", "false", "only `no` switches it off: writes wait for the disk"),
        ("skipACL", "true", "only `yes` switches the checks off: they are on"),
        ("autopurge.snapRetainCount", "1", "at least 3 snapshots stay"),
        ("4lw.commands.whitelist", "rouk", "there is no command `rouk`"),
        (
            "authProvider.2",
            "com.example.Provider",
            "the provider `2` is a Java class, which this server cannot load",
        ),
        (
            "metricsProvider.className",
            "com.example.Metrics",
            "no such provider is known; metrics are at the four-letter word `mntr` and the AdminServer",
        ),
    ] {
        assert_eq!(warnings(&[(key, value)]), [format!("{option}{key}: {wanted}")]);
    }
    let sample = [("initLimit", "10"), ("syncLimit", "5"), ("serverCnxnFactory", "x.NettyServerCnxnFactory")];
    assert_eq!(warnings(&sample), Vec::<String>::new());
    // Set to what is so here in any case.
    let usual = [
        ("serializeLastProcessedZxid.enabled", "true"),
        ("client.certReload", "false"),
        ("IPAuthenticationProvider.usexforwardedfor", "false"),
        ("clientTcpKeepAlive", "true"),
        ("clientPortListenBacklog", "100"),
    ];
    assert_eq!(warnings(&usual), Vec::<String>::new());
    for key in [
        "maxBatchSize",
        "outstandingHandshake.limit",
        "throttledOpWaitTime",
        "ssl.handshakeDetectionTimeoutMillis",
        "admin.idleTimeout",
        "metricsProvider.exportJvmInfo",
        "requestThrottleStallTime",
    ] {
        let told = warnings(&[(key, "1")]);
        assert!(told.len() == 1 && told[0].contains("has no effect here"), "{key}: {told:?}");
    }
    assert_eq!(warnings(&[("IPAuthenticationProvider.usexforwardedfor", "true")]).len(), 1);
}

#[test]
fn a_file_and_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    file("myid", "3\n");
    let jaas = file("jaas.conf", "Server { x.DigestLoginModule required user_super=\"a\" user_bob=\"b\"; };");
    let dynamic =
        file("zoo.cfg.dynamic", "server.3=localhost:2888:3888:participant;127.0.0.1:2183\nversion=1\n");
    let text = format!(
        "# sample\ndataDir={}\ntickTime=2000\ntickTime=1000\ndynamicConfigFile={}\nbogus=1\n\
         java.security.auth.login.config={}\nSASLAuthenticationProvider.superPassword=c\n",
        dir.path().display(),
        dynamic.display(),
        jaas.display()
    );
    let path = file("zoo.cfg", &text);
    let (config, warnings) = Config::from_file(&path).unwrap();
    assert_eq!(config.my_id, Some(3));
    assert_eq!(config.tick, Duration::from_secs(1));
    assert_eq!(config.client, Some(Listen { host: Some("127.0.0.1".to_owned()), port: 2183 }));
    assert_eq!(config.servers[0].id, 3);
    let users = config.security.sasl_users.clone().unwrap();
    assert_eq!((&*users["super"].0, &*users["bob"].0), ("c", "b"));
    assert_eq!(config.core_options().access.disabled_schemes, ["x509"]);
    assert!(!format!("{config:?}").contains("\"b\""));
    assert_eq!(config.written["SASLAuthenticationProvider.superPassword"], "***");
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let at = path.display();
    assert_eq!(
        told,
        [
            format!("{at}:4: tickTime: set before already ({at}:3): the last one counts"),
            format!("{at}:6: bogus: no such key is known; it has no effect"),
        ]
    );
    let (config, _) = Config::from_sources(Some(&path), [("clientPort", "0"), ("tickTime", "500")]).unwrap();
    assert_eq!((config.client.unwrap().port, config.tick), (0, Duration::from_millis(500)));

    let path = file("bad.cfg", "dataDir=/x\n\nclientPort=many\n");
    let told = Config::from_file(&path).unwrap_err().to_string();
    assert_eq!(
        told,
        format!(
            "{}:3: clientPort=many: not a whole number; allowed: a whole number from 0 to 65535",
            path.display()
        )
    );
    file("myid", "three");
    let told = Config::from_pairs([("dataDir", dir.path().to_str().unwrap()), ("clientPort", "0")]);
    assert!(told.unwrap_err().to_string().contains("`three` is no server's number"));
}
