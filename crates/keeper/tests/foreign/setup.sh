#!/bin/sh
# Installs what the foreign tours need on a fresh Debian 12, as root, into $FOREIGN_DIR (default target/foreign):
#   Debian   Apache ZooKeeper 3.8.0, the C client's shell, Java, Jetty and Jackson (for the AdminServer)
#   venv/    kazoo and pure-sasl
#   zk39/    Apache ZooKeeper 3.9.4 and the jars it needs
# Running it again does nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${FOREIGN_DIR:-$here/../../../../target/foreign}
mkdir -p "$dir"

missing=
for package in zookeeper zookeeper-bin openjdk-17-jre-headless libjetty9-java libjackson2-databind-java python3-venv \
    openssl; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
    *" installed") ;;
    *) missing="$missing $package" ;;
    esac
done
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

if [ ! -e "$dir/venv/complete" ]; then
    python3 -m venv --clear "$dir/venv"
    "$dir/venv/bin/pip" install -q kazoo==2.11.0 pure-sasl==0.6.2 setuptools wheel
    touch "$dir/venv/complete"
fi

# Neither Debian nor a wheel has ZooKeeper 3.9; the source archive of PySpark ships its jars.
if [ ! -e "$dir/zk39/complete" ]; then
    rm -rf "$dir/zk39" "$dir/pyspark"
    mkdir -p "$dir/zk39" "$dir/pyspark"
    # No isolation: downloading builds the archive's metadata, and an isolated build would fetch setuptools once more.
    "$dir/venv/bin/pip" download -q --no-deps --no-build-isolation --no-binary :all: -d "$dir/pyspark" pyspark==4.1.1
    tar -xzf "$dir/pyspark/pyspark-4.1.1.tar.gz" -C "$dir/zk39" --strip-components=3 --wildcards \
        '*/deps/jars/zookeeper*-3.9.4.jar' '*/deps/jars/netty-*.Final.jar' '*/deps/jars/slf4j-api-*.jar' \
        '*/deps/jars/snappy-java-*.jar' '*/deps/jars/metrics-core-*.jar' '*/deps/jars/commons-cli-*.jar' \
        '*/deps/jars/commons-io-*.jar'
    rm -rf "$dir/pyspark"
    test -e "$dir/zk39/zookeeper-3.9.4.jar"
    touch "$dir/zk39/complete"
fi
