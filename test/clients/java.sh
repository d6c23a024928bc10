#!/bin/sh
# Apache Kafka's own console tools against the broker HOST:PORT. KAFKA_LIB is the
# directory of their jars.
set -eu
broker=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
config=$work/client.properties
echo "request.timeout.ms=20000" >"$config"
if [ -n "${USER_NAME:-}" ]; then
	cat >>"$config" <<P
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$USER_NAME" password="$USER_PASSWORD";
P
fi
java_() { java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$KAFKA_LIB/*" "$@"; }
tool() {
	class=$1
	shift
	java_ "$class" --bootstrap-server "$broker" --command-config "$config" "$@"
}
topics() { tool org.apache.kafka.tools.TopicCommand "$@"; }
groups() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "$@"; }
configs() { tool kafka.admin.ConfigCommand "$@"; }
transactions() { tool org.apache.kafka.tools.TransactionsCommand "$@"; }
offsets() { tool org.apache.kafka.tools.GetOffsetShell "$@"; }
produce() { java_ org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$broker" --command-config "$config" "$@"; }
consume() { java_ org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$broker" --command-config "$config" --timeout-ms 20000 "$@" 2>"$work/consumer.err"; }
fail() {
	echo "FAIL java: $*" >&2
	exit 1
}
same() { [ "$2" = "$3" ] || fail "$1: want '$2', got '$3'"; }
# has WHAT FILE PATTERN
has() { grep -Eq -- "$3" "$2" || fail "$1: no '$3' in: $(cat "$2")"; }

topic=java-$run
topics --create --topic "$topic" --partitions 2 --replication-factor 1 --config retention.ms=3600000 >/dev/null
topics --list >"$work/out"
has "list of topics" "$work/out" "^$topic\$"
topics --describe --topic "$topic" >"$work/out"
has "described topic" "$work/out" "PartitionCount: 2.*ReplicationFactor: 1.*Configs: .*retention.ms=3600000"
has "described partition" "$work/out" "Partition: 1.*Leader: [0-9]+.*Isr: [0-9]+"
topics --create --topic "$topic" >"$work/out" 2>&1 && fail "a topic was made twice"
has "topic that is there" "$work/out" "already exists"
topics --alter --topic "$topic" --partitions 3 >/dev/null
topics --describe --topic "$topic" >"$work/out"
has "more partitions" "$work/out" "PartitionCount: 3"

configs --alter --entity-type topics --entity-name "$topic" --add-config retention.ms=7200000,max.message.bytes=200000 >/dev/null
configs --describe --entity-type topics --entity-name "$topic" >"$work/out"
has "altered configuration" "$work/out" "retention.ms=7200000"
has "altered configuration" "$work/out" "max.message.bytes=200000"
configs --alter --entity-type topics --entity-name "$topic" --delete-config max.message.bytes >/dev/null
configs --describe --all --entity-type topics --entity-name "$topic" >"$work/out"
has "configuration taken back" "$work/out" "max.message.bytes=1048588"
broker_id=$(topics --describe --topic "$topic" | sed -n 's/.*Partition: 0.*Leader: \([0-9]*\).*/\1/p')
configs --describe --all --entity-type brokers --entity-name "$broker_id" >"$work/out"
has "configuration of the broker" "$work/out" "log.retention.ms="

seq 1 1000 | produce --topic "$topic" --compression-codec lz4
printf 'k1\tv1\nk2\tv2\n' | produce --topic "$topic" --reader-property parse.key=true
consume --topic "$topic" --from-beginning --max-messages 1002 --isolation-level read_committed --group "java-$run" >"$work/out"
same "records" 1002 "$(wc -l <"$work/out" | tr -d ' ')"
same "different records" 1002 "$(sort -u "$work/out" | wc -l | tr -d ' ')"
offsets --topic "$topic" | sort >"$work/out"
same "offsets" 1002 "$(awk -F: '{n += $3} END {print n}' "$work/out")"

groups --describe --group "java-$run" >"$work/out" 2>&1
same "committed" 1002 "$(awk -v t="$topic" '$2 == t {n += $4} END {print n+0}' "$work/out")"
groups --list --state >"$work/out"
has "list of groups" "$work/out" "java-$run +Empty"
groups --reset-offsets --group "java-$run" --topic "$topic" --to-earliest --execute >/dev/null
groups --describe --group "java-$run" --offsets >"$work/out" 2>&1
same "offsets after a reset" 0 "$(awk -v t="$topic" '$2 == t {n += $4} END {print n+0}' "$work/out")"
groups --delete --group "java-$run" >"$work/out"
has "deletion of a group" "$work/out" "successful"

# The new protocol of groups (KIP-848).
echo "group.protocol=consumer" | cat "$config" - >"$work/new.properties"
java_ org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$broker" --command-config "$work/new.properties" --timeout-ms 20000 \
	--topic "$topic" --from-beginning --max-messages 1002 --group "java-new-$run" >"$work/out" 2>"$work/consumer.err" || fail "new protocol: $(cat "$work/consumer.err")"
same "records by the new protocol" 1002 "$(wc -l <"$work/out" | tr -d ' ')"
groups --describe --state --group "java-new-$run" >"$work/out" 2>&1
has "state of the new group" "$work/out" "Empty"

java_ org.apache.kafka.tools.ProducerPerformance --topic "$topic" --num-records 2000 --record-size 100 --throughput -1 --command-config "$config" \
	--bootstrap-server "$broker" --transactional-id "java-$run" --transaction-duration-ms 200 >"$work/out" 2>&1 || fail "transactions: $(cat "$work/out")"
has "transactions" "$work/out" "2000 records sent"
consume --topic "$topic" --from-beginning --max-messages 3002 --isolation-level read_committed >"$work/out"
same "records with those of transactions" 3002 "$(wc -l <"$work/out" | tr -d ' ')"
transactions list >"$work/out"
has "list of transactions" "$work/out" "java-$run.*CompleteCommit"
transactions describe --transactional-id "java-$run" >"$work/out"
has "described transaction" "$work/out" "java-$run.*CompleteCommit"
transactions describe-producers --topic "$topic" --partition 0 >"$work/out"
has "described producers" "$work/out" "ProducerId"
transactions find-hanging --broker-id "$broker_id" >"$work/out" 2>&1 || fail "hanging transactions: $(cat "$work/out")"

printf '{"partitions": [{"topic": "%s", "partition": 0, "offset": 5}], "version": 1}' "$topic" >"$work/delete.json"
tool org.apache.kafka.tools.DeleteRecordsCommand --offset-json-file "$work/delete.json" >"$work/out"
has "deletion of records" "$work/out" "low_watermark: 5"
tool org.apache.kafka.tools.LogDirsCommand --describe --topic-list "$topic" >"$work/out"
has "log directories" "$work/out" "\"partition\":\"$topic-0\""
tool org.apache.kafka.tools.BrokerApiVersionsCommand >"$work/out"
has "versions" "$work/out" "Produce\(0\)"
if [ -n "${USER_NAME:-}" ]; then
	configs --describe --entity-type users --entity-name "$USER_NAME" >"$work/out"
	has "users" "$work/out" "SCRAM-SHA-512=iterations="
fi
topics --delete --topic "$topic"
topics --list >"$work/out"
grep -q "^$topic\$" "$work/out" && fail "the topic is still there"
echo "ok java"
