#!/bin/sh
# Runs Azure's unmodified SDKs for Node against a node of the hub, with the log
# in a process of its own.
#
#   test/sdk/run.sh [FILE.test.js ...]     all files when none is named
#
# GEMELLO  the binary; without it bin/gemello of this checkout, built if absent
# HOST     address of the node, an own one of 127.0.0.0/8 where the system has all
# LIMIT    seconds for each file (180)
#
# A node that is killed (a test does that) is started again at once, as a service
# manager would.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

case $(uname) in
Linux) host=${HOST:-127.43.0.1} ;;
*) host=${HOST:-127.0.0.1} ;;
esac
limit=${LIMIT:-180}

for tool in node npm; do
	command -v $tool >/dev/null || { echo "SDK tests skipped: $tool is not installed"; exit 0; }
done
node -e 'process.exit(+process.versions.node.split(".")[0] >= 18 ? 0 : 1)' || {
	echo "SDK tests skipped: they need Node 18 or later, this is $(node --version)"
	exit 0
}

# The SDKs can't be told another port than these.
for port in 443 8883; do
	why=$(node -e '
		const server = require("net").createServer();
		server.on("error", (e) => { console.log(e.code); });
		server.listen(+process.argv[1], process.argv[2], () => server.close());' $port "$host")
	case $why in
	'') ;;
	EACCES)
		echo "SDK tests skipped: the SDKs insist on ports 443 and 8883, and this user may not listen on $port; run them as root, or allow it: sysctl net.ipv4.ip_unprivileged_port_start=443"
		exit 0
		;;
	*)
		echo "SDK tests can't listen on $host port $port: $why; stop what does, or set HOST" >&2
		exit 1
		;;
	esac
done

if [ -z "${GEMELLO:-}" ]; then
	GEMELLO=$root/bin/gemello
	[ -x "$GEMELLO" ] || (cd "$root" && CGO_ENABLED=0 go build -trimpath -o bin/gemello ./cmd/gemello)
fi

# As it stands in package-lock.json, once for each version of it.
if ! cmp -s package-lock.json node_modules/.gemello-lock; then
	npm ci --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/.gemello-lock
fi

dir=$(mktemp -d)
data=$dir/data
log_pid='' supervisor=''

stop() { # a process by its id, kindly, then not
	kill "$1" 2>/dev/null || return 0
	tries=150
	while kill -0 "$1" 2>/dev/null; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { kill -9 "$1" 2>/dev/null || true; return 0; }
		sleep 0.1
	done
}
finish() {
	status=$?
	trap - EXIT INT TERM
	[ -z "$supervisor" ] || { stop "$(cat "$dir/pid")"; wait "$supervisor" || true; }
	[ -z "$log_pid" ] || stop "$log_pid"
	if [ $status = 0 ] && ! grep -qx 'ended 0' "$dir/serve.log"; then
		echo "the node did not end in order" >&2
		status=1
	fi
	if [ $status != 0 ]; then
		for f in "$dir/log.log" "$dir/serve.log"; do
			[ ! -s "$f" ] || { echo "--- $(basename "$f")"; tail -n 40 "$f"; } >&2
		done
	fi
	rm -rf "$dir"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

wait_for() { # FILE PATTERN WHAT
	tries=300
	until grep -qs "$2" "$1"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "$3 is not there after 30 s" >&2; exit 1; }
		sleep 0.1
	done
}

"$GEMELLO" log --data "$dir/log" --listen "$host:9092" >"$dir/log.out" 2>"$dir/log.log" &
log_pid=$!
wait_for "$dir/log.out" listening "the log"

supervise() {
	while :; do
		"$GEMELLO" serve --data "$data" --hostnames "$host" --listeners.admin "$host:7080" \
			--kafka "$host:9092" --log.partitions 4 >>"$dir/serve.log" 2>&1 &
		echo $! >"$dir/pid"
		code=0
		wait $! || code=$?
		echo "ended $code" >>"$dir/serve.log"
		[ $code = 137 ] || return 0
	done
}
touch "$dir/serve.log"
supervise &
supervisor=$!
wait_for "$data/run.json" '"pid"' "the node"

export GEMELLO GEMELLO_DATA="$data" NODE_EXTRA_CA_CERTS="$data/pki/ca.pem"
[ $# -gt 0 ] || set -- *.test.js
bound=''
command -v timeout >/dev/null && bound="timeout -k 5 $limit"
status=0
for file; do
	echo "# $file"
	$bound node --test --test-reporter=spec "$file" || { status=1; echo "$file failed ($?)" >&2; }
done
exit $status
