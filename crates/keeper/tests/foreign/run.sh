#!/bin/sh
# Runs the tours by foreign clients against a server: run.sh keeper:PATH | apache38 | apache39 [TOUR...]
# A line of counts for each tour; ends with "N passed, N failed" and fails with the first number at 0 or the second above.
set -u
here=$(cd "$(dirname "$0")" && pwd)
target=${1:?usage: run.sh keeper:PATH|apache38|apache39 [TOUR...]}
shift
case $target in
keeper:*)
    binary=${target#keeper:}
    [ -x "$binary" ] || { echo "$binary is not there: build it first" >&2; exit 1; }
    target=keeper:$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")
    ;;
esac
FOREIGN_DIR=$(realpath -m "${FOREIGN_DIR:-$here/../../../../target/foreign}")
export FOREIGN_DIR
"$here/setup.sh" || { echo "setup.sh failed" >&2; exit 1; }

[ $# -gt 0 ] || set -- raw limits kazoo recipes zkcli c admin
passed=0
failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for tour; do
    "$FOREIGN_DIR/venv/bin/python" "$here/tour_$tour.py" --target "$target" >"$out" 2>&1
    code=$?
    cat "$out"
    counts=$(sed -n 's/^tour_[a-z]* .*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$out" | tail -n 1)
    if [ -z "$counts" ]; then
        # It died before it could count.
        counts="0 1"
    fi
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    if [ "$code" -ne 0 ] && [ "${counts#* }" -eq 0 ]; then
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
