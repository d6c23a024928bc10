#!/bin/sh
# Real clients against a log: kcat, Python (confluent-kafka) and the Java
# console tools. A client that is not installed is skipped.
#
#   test/clients/run.sh [HOST:PORT]
#
# With HOST:PORT the clients talk to that broker, which may be an Apache Kafka,
# without TLS and users. Otherwise bin/gemello serves a log in a directory of its
# own, once open and once to users alone.
#
#   GEMELLO      the binary; default bin/gemello
#   KAFKA_LIB    directory of Kafka's jars (kafka-tools and what it needs); none:
#                no Java
#   PYTHON       interpreter with confluent-kafka; default python3
#   ONLY         names of clients to run; default "kcat python java"
set -eu

here=$(cd "$(dirname "$0")" && pwd)
gemello=${GEMELLO:-$here/../../bin/gemello}
work=$(mktemp -d)
pid=
# shellcheck disable=SC2317 # the trap calls it
finish() {
	[ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; } || true
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# serve NAME [FLAG...] starts a log on a free port and sets broker.
serve() {
	name=$1
	shift
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	"$gemello" log --data "$work/$name" --listen "127.0.0.1:$port" "$@" >"$work/$name.log" 2>&1 &
	pid=$!
	broker=127.0.0.1:$port
	tries=100
	until python3 -c "import socket; socket.create_connection(('127.0.0.1', $port), 1)" 2>/dev/null; do
		tries=$((tries - 1))
		if [ $tries = 0 ] || ! kill -0 "$pid" 2>/dev/null; then
			cat "$work/$name.log" >&2
			exit 1
		fi
		sleep 0.1
	done
}

stop() {
	kill "$pid"
	wait "$pid" || { echo "the log ended with an error" >&2; cat "$work"/*.log >&2; exit 1; }
	pid=
}

status=0
# clients runs each that is there against broker. USER and PASSWORD are theirs.
clients() {
	for client in ${ONLY:-kcat python java}; do
		case $client in
		kcat) command -v kcat >/dev/null || { echo "skip kcat: not installed"; continue; } ;;
		python) "${PYTHON:-python3}" -c 'import confluent_kafka' 2>/dev/null || { echo "skip python: no confluent-kafka"; continue; } ;;
		java) [ -n "${KAFKA_LIB:-}" ] || { echo "skip java: KAFKA_LIB is not set"; continue; } ;;
		esac
		case $client in
		python) set -- "${PYTHON:-python3}" "$here/client.py" ;;
		*) set -- "$here/$client.sh" ;;
		esac
		"$@" "$broker" || { echo "FAIL $client"; status=1; }
	done
}

if [ $# -gt 0 ]; then
	broker=$1
	clients
	exit $status
fi

echo "== open log"
serve open
clients
stop
"$gemello" log verify --data "$work/open" >"$work/verify" 2>&1 || { cat "$work/verify"; status=1; }

echo "== log with users"
printf 'ana:s3cret,=\n' >"$work/users"
serve closed --auth "$work/users"
export USER_NAME=ana USER_PASSWORD='s3cret,='
clients
stop
exit $status
