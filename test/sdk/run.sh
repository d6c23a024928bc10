#!/bin/sh
# Runs Azure's unmodified SDKs for Node against a node of the hub, with the log
# in a process of its own.
#
#   test/sdk/run.sh [FILE.test.js ...]     all files when none is named
#
# GEMELLO  the binary; without it bin/gemello of this checkout, built if absent
# HOST     address of the node, an own one of 127.0.0.0/8 where the system has all;
#          a second node, with low rates, gets the address after it
# GEMELLO_PYTHON_SDK  a Python that has azure-iot-device; without it one is made in node_modules
# LIMIT    seconds for each file (900)
# ONLY     pattern of the tests to run, such as 'D10 MQTT|S15'; all when it is empty
#
# A node that is killed (a test does that) is started again at once, as a service
# manager would.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

case $(uname) in
Linux)
	host=${HOST:-127.43.0.1}
	tight=${host%.*}.$((${host##*.} + 1))
	;;
*)
	host=${HOST:-127.0.0.1}
	tight=''
	;;
esac
limit=${LIMIT:-900}

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

# Python's SDK likewise, where Python and the package can be had.
if [ -z "${GEMELLO_PYTHON_SDK:-}" ] && command -v python3 >/dev/null; then
	if ! cmp -s requirements.txt node_modules/.gemello-requirements; then
		rm -rf node_modules/.python
		if python3 -m venv node_modules/.python && node_modules/.python/bin/pip install -q --disable-pip-version-check -r requirements.txt; then
			cp requirements.txt node_modules/.gemello-requirements
		else
			echo "Python's SDK could not be installed"
			rm -rf node_modules/.python
		fi
	fi
	[ ! -x node_modules/.python/bin/python ] || GEMELLO_PYTHON_SDK=$PWD/node_modules/.python/bin/python
fi

dir=$(mktemp -d)
data=$dir/main
log_pid='' supervisors=''

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
	for f in "$dir"/*.pid; do
		[ ! -s "$f" ] || stop "$(cat "$f")"
	done
	for p in $supervisors; do wait "$p" || true; done
	[ -z "$log_pid" ] || stop "$log_pid"
	for f in "$dir"/*.serve.log; do
		[ $status != 0 ] || grep -qx 'ended 0' "$f" || { echo "the node of $(basename "$f") did not end in order" >&2; status=1; }
	done
	if [ $status != 0 ]; then
		for f in "$dir"/*.log; do
			[ ! -s "$f" ] || { echo "--- $(basename "$f")"; tail -n 40 "$f"; } >&2
		done
	fi
	rm -rf "$dir"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

wait_for() { # FILE PATTERN WHAT
	tries=1200
	until grep -qs "$2" "$1"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "$3 is not there after 120 s" >&2; exit 1; }
		sleep 0.1
	done
}

# The CA that the nodes trust for devices; the tests sign with its key.
mkdir "$dir/ca"
node pki.js "$dir/ca"

supervise() { # NAME HOST ARG...
	name=$1 at=$2
	shift 2
	while :; do
		"$GEMELLO" serve --data "$dir/$name" --hostnames "$at" --listeners.admin "$at:7080" \
			--tls.device_ca "$dir/ca/ca.pem" "$@" >>"$dir/$name.serve.log" 2>&1 &
		echo $! >"$dir/$name.pid"
		code=0
		wait $! || code=$?
		echo "ended $code" >>"$dir/$name.serve.log"
		[ $code = 137 ] || return 0
	done
}
start() {
	: >"$dir/$1.serve.log"
	supervise "$@" &
	supervisors="$supervisors $!"
}

"$GEMELLO" log --data "$dir/log" --listen "$host:9092" >"$dir/log.out" 2>"$dir/log.log" &
log_pid=$!
wait_for "$dir/log.out" listening "the log"
start main "$host" --kafka "$host:9092" --log.partitions 4
[ -z "$tight" ] || start tight "$tight" --log.listen "$tight:9092" --log.partitions 1 \
	--throttle.device_connections 10/min --throttle.d2c 30/min
wait_for "$data/run.json" '"pid"' "the node"
cat "$data/pki/ca.pem" >"$dir/trust.pem"
if [ -n "$tight" ]; then
	wait_for "$dir/tight/run.json" '"pid"' "the node with low rates"
	cat "$dir/tight/pki/ca.pem" >>"$dir/trust.pem"
fi

export GEMELLO GEMELLO_PYTHON_SDK="${GEMELLO_PYTHON_SDK:-}" GEMELLO_DATA="$data" GEMELLO_TIGHT="${tight:+$dir/tight}" GEMELLO_DEVICE_CA="$dir/ca" NODE_EXTRA_CA_CERTS="$dir/trust.pem"
[ $# -gt 0 ] || set -- *.test.js
bound=''
command -v timeout >/dev/null && bound="timeout -k 5 $limit"
status=0
for file; do
	echo "# $file"
	$bound node --test --test-reporter=spec ${ONLY:+--test-name-pattern="$ONLY"} "$file" || { status=1; echo "$file failed ($?)" >&2; }
done
exit $status
