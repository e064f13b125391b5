#!/bin/sh
# Runs Apache ZooKeeper, standalone, in the foreground, for `streamkeeper bench keeper --against`:
#
#   bench_apache.sh PORT DATA_DIR
#
# 3.8.0 of Debian (`apt install libzookeeper-java`), or the jars in $ZOOKEEPER_JARS (a directory). Java's options are those of
# ZooKeeper's own zkServer.sh, or $SERVER_JVMFLAGS.
set -eu
port=$1
data=$2

if [ -n "${ZOOKEEPER_JARS:-}" ]; then
    classes="$ZOOKEEPER_JARS/*"
else
    # The manifest's class path lacks netty-codec and netty-resolver.
    classes=
    for jar in zookeeper zookeeper-jute netty-codec netty-resolver netty-transport netty-handler netty-buffer netty-common \
        netty-transport-native-epoll netty-transport-native-unix-common slf4j-api slf4j-nop snappy-java metrics-core; do
        classes="$classes${classes:+:}/usr/share/java/$jar.jar"
    done
fi

mkdir -p "$data"
cat >"$data/zoo.cfg" <<CONFIG
tickTime=2000
dataDir=$data
clientPort=$port
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
CONFIG

# shellcheck disable=SC2086
exec java ${SERVER_JVMFLAGS:--Xmx1000m} -Dzookeeper.extendedTypesEnabled=true -cp "$classes" \
    org.apache.zookeeper.server.ZooKeeperServerMain "$data/zoo.cfg"
