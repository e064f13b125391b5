#!/bin/sh
# Runs the differential test: differential.sh KEEPER_BINARY DIFFERENTIAL_BINARY 3.8|3.9 [SEED] [STEPS]
# Starts the keeper and Apache ZooKeeper of that version on empty directories, without fsync, and lets them answer the same questions.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
keeper=${1:?usage: differential.sh KEEPER DIFFERENTIAL 3.8|3.9 [SEED] [STEPS]}
differential=${2:?}
version=${3:?}
seed=${4:-1}
steps=${5:-100000}
FOREIGN_DIR=$(realpath -m "${FOREIGN_DIR:-$here/../../../../target/foreign}")
export FOREIGN_DIR
"$here/setup.sh"
python=$FOREIGN_DIR/venv/bin/python
data=$(mktemp -d)
keeper_pid=
cleanup() {
    [ -z "$keeper_pid" ] || kill "$keeper_pid" 2>/dev/null || true
    "$python" "$here/apache.py" stop --data "$data/apache" >/dev/null 2>&1 || true
    rm -rf "$data"
}
trap cleanup EXIT

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
ours=$(free_port)
theirs=$(free_port)
super='super:g9oN2HttPfn8MMWJZ2r45Np/LIA='
# Containers and TTL nodes must not go by themselves while answers are compared.
"$python" "$here/apache.py" start --version "$version" --port "$theirs" --data "$data/apache" --heap 512m \
    --cfg tickTime=500 --cfg minSessionTimeout=1000 --cfg maxSessionTimeout=60000 --cfg maxClientCnxns=0 \
    --cfg forceSync=no --prop zookeeper.forceSync=no --prop zookeeper.extendedTypesEnabled=true \
    --prop znode.container.checkIntervalMs=3600000 \
    --prop "zookeeper.DigestAuthenticationProvider.superDigest=$super" >/dev/null
"$keeper" keeper --data-dir "$data/keeper" --client-port "$ours" --set tickTime=500 --set minSessionTimeout=1000 \
    --set maxSessionTimeout=60000 --set maxClientCnxns=0 --set forceSync=no \
    --set znode.container.checkIntervalMs=3600000 \
    --set "DigestAuthenticationProvider.superDigest=$super" >"$data/keeper.log" 2>&1 &
keeper_pid=$!
for _ in $(seq 100); do
    "$python" -c "import socket; socket.create_connection(('127.0.0.1', $ours), 1)" 2>/dev/null && break
    sleep 0.1
done
"$differential" --ours "127.0.0.1:$ours" --theirs "127.0.0.1:$theirs" --version "$version" --seed "$seed" --steps "$steps"
