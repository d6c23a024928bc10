#!/bin/sh
# kcat (librdkafka) against the broker HOST:PORT.
set -eu
broker=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
kafka() { kcat -b "$broker" -X topic.metadata.refresh.interval.ms=100 "$@"; }
if [ -n "${USER_NAME:-}" ]; then
	mechanism=SCRAM-SHA-512
	kafka() {
		kcat -b "$broker" -X topic.metadata.refresh.interval.ms=100 -X security.protocol=SASL_PLAINTEXT -X "sasl.mechanisms=$mechanism" \
			-X "sasl.username=$USER_NAME" -X "sasl.password=$USER_PASSWORD" "$@"
	}
fi
fail() {
	echo "FAIL kcat: $*" >&2
	exit 1
}
# same WHAT WANT GOT
same() { [ "$2" = "$3" ] || fail "$1: want '$2', got '$3'"; }

topic=kcat-$run
# kcat makes no topics; the Python client or Kafka's tools may be absent, so the
# broker is asked in its own protocol.
python3 "$(dirname "$0")/create_topic.py" "$broker" "$topic" 2

kafka -L -t "$topic" >"$work/list"
grep -q "topic \"$topic\" with 2 partitions" "$work/list" || fail "list: $(cat "$work/list")"

for codec in none gzip snappy lz4 zstd; do
	seq 1 500 | sed "s/^/$codec /" | kafka -P -t "$topic" -p 0 -z $codec -X enable.idempotence=true
done
kafka -C -t "$topic" -p 0 -o beginning -e -q >"$work/read"
same "records of all codecs" 2500 "$(wc -l <"$work/read" | tr -d ' ')"
for codec in none gzip snappy lz4 zstd; do
	seq 1 500 | sed "s/^/$codec /" >"$work/want"
	grep "^$codec " "$work/read" >"$work/got"
	cmp -s "$work/want" "$work/got" || fail "$codec: other records than were written"
done

printf 'key:value\n' | kafka -P -t "$topic" -p 1 -K : -H name=header
same "key, value, header" 'key value name=header 0' "$(kafka -C -t "$topic" -p 1 -o beginning -e -q -f '%k %s %h %o\n')"
same "from an offset" 'zstd 500' "$(kafka -C -t "$topic" -p 0 -o 2499 -c 1 -e -q)"
same "from the end" 'zstd 499' "$(kafka -C -t "$topic" -p 0 -o -2 -c 1 -e -q)"
same "offset by time" "$topic [0] offset 0" "$(kafka -Q -t "$topic:0:1")"
same "end offset" "$topic [0] offset 2500" "$(kafka -Q -t "$topic:0:-1")"

for strategy in range,roundrobin cooperative-sticky; do
	kafka -X auto.offset.reset=earliest -X "partition.assignment.strategy=$strategy" -G "kcat-$run-$strategy" -e -q "$topic" >"$work/group" 2>/dev/null
	same "records of a group" 2501 "$(wc -l <"$work/group" | tr -d ' ')"
	kafka -X auto.offset.reset=earliest -X "partition.assignment.strategy=$strategy" -G "kcat-$run-$strategy" -e -q "$topic" >"$work/group" 2>/dev/null
	same "records of the group again" 0 "$(wc -l <"$work/group" | tr -d ' ')"
done

printf 'never\nread\n' | kafka -P -t "$topic" -p 1 -X "transactional.id=kcat-$run"
same "committed records" 3 "$(kafka -C -t "$topic" -p 1 -o beginning -e -q -X isolation.level=read_committed | wc -l | tr -d ' ')"

if [ -n "${USER_NAME:-}" ]; then
	mechanism=SCRAM-SHA-256
	kafka -L >/dev/null || fail "SCRAM-SHA-256"
	USER_PASSWORD=wrong
	kafka -L -m 3 >"$work/refused" 2>&1 && fail "a wrong password was taken"
	grep -qi "authentication failed" "$work/refused" || fail "a wrong password: $(cat "$work/refused")"
	kcat -b "$broker" -L -m 3 >/dev/null 2>&1 && fail "nobody was let in"
fi
echo "ok kcat"
