"""confluent-kafka (librdkafka) against the broker HOST:PORT."""

import os
import sys
import time
import uuid

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

PATIENCE = 30
run = uuid.uuid4().hex[:8]
base = {"bootstrap.servers": sys.argv[1]}
if os.environ.get("USER_NAME"):
    base.update(
        {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": os.environ["USER_NAME"],
            "sasl.password": os.environ["USER_PASSWORD"],
        }
    )


def same(what, want, got):
    if want != got:
        sys.exit("FAIL python: %s: want %r, got %r" % (what, want, got))


def done(futures):
    return {k: f.result(PATIENCE) for k, f in futures.items()}


def eventually(what, f):
    end = time.monotonic() + PATIENCE
    while not f():
        if time.monotonic() > end:
            sys.exit("FAIL python: %s: not in %d s" % (what, PATIENCE))
        time.sleep(0.1)


def consumer(group, **more):
    return Consumer(
        {**base, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, **{k.replace("_", "."): v for k, v in more.items()}}
    )


def read(c, n):
    out = []
    end = time.monotonic() + PATIENCE
    while len(out) < n and time.monotonic() < end:
        m = c.poll(0.2)
        if m is None:
            continue
        if m.error():
            if m.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            sys.exit("FAIL python: read: %s" % m.error())
        out.append(m)
    same("records read", n, len(out))
    return out


def produce_and_read(admin):
    topic = "py-%s" % run
    done(admin.create_topics([NewTopic(topic, 3, 1, config={"retention.ms": "3600000"})]))
    try:
        done(admin.create_topics([NewTopic(topic, 3, 1)]))
        sys.exit("FAIL python: a topic was made twice")
    except KafkaException as e:
        same("topic that is there", KafkaError.TOPIC_ALREADY_EXISTS, e.args[0].code())
    errors = []
    p = Producer({**base, "enable.idempotence": True, "compression.type": "zstd", "linger.ms": 5})
    for i in range(5000):
        p.produce(topic, key=str(i % 50), value=str(i), headers={"n": str(i)}, on_delivery=lambda e, m: errors.append(e) if e else None)
        p.poll(0)
    same("records left unsent", 0, p.flush(PATIENCE))
    same("errors", [], errors)

    for protocol in ("classic", "consumer"):
        group = "py-%s-%s" % (run, protocol)
        more = {"group_protocol": protocol}
        if protocol == "classic":
            more["partition_assignment_strategy"] = "cooperative-sticky"
        a, b = consumer(group, **more), consumer(group, **more)
        a.subscribe([topic])
        first = read(a, 1000)
        a.commit(asynchronous=False)
        b.subscribe([topic])

        def shared():
            for c in (a, b):
                m = c.poll(0.1)
                if m is not None and m.error() is None:
                    first.append(m)
            return len(a.assignment()) > 0 and len(b.assignment()) > 0

        eventually("a share for each of two " + protocol, shared)
        same("partitions of the two", 3, len(a.assignment()) + len(b.assignment()))
        (described,) = done(admin.describe_consumer_groups([group])).values()
        same("members", 2, len(described.members))
        same("state", ConsumerGroupState.STABLE, described.state)
        b.close()
        a.close()
        (described,) = done(admin.describe_consumer_groups([group])).values()
        same("members after", 0, len(described.members))
        # What was committed is where the next one goes on.
        c = consumer(group, **more)
        c.subscribe([topic])
        rest = read(c, 4000)
        seen = {m.value() for m in first[:1000]} | {m.value() for m in rest}
        same("different records", 5000, len(seen))
        c.commit(asynchronous=False)
        c.close()
        (offsets,) = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])).values()
        same("committed offsets", 5000, sum(tp.offset for tp in offsets.topic_partitions))
        done(admin.delete_consumer_groups([group]))
        names = [g.group_id for g in admin.list_consumer_groups().result(PATIENCE).valid]
        same("group among all after its end", False, group in names)

    c = consumer("py-times-" + run)
    stamp = int(time.time() * 1000) - 3600_000
    for tp in c.offsets_for_times([TopicPartition(topic, i, stamp) for i in range(3)], timeout=PATIENCE):
        same("first offset after an hour ago", 0, tp.offset)
    same("watermarks", 5000, sum(c.get_watermark_offsets(TopicPartition(topic, i))[1] for i in range(3)))
    c.close()
    return topic


def transactions(admin, source):
    out = "py-out-%s" % run
    done(admin.create_topics([NewTopic(out, 2, 1)]))
    group = "py-txn-%s" % run
    c = consumer(group, isolation_level="read_committed")
    c.subscribe([source])
    p = Producer({**base, "transactional.id": "py-%s" % run})
    p.init_transactions(PATIENCE)
    written = 0
    for round in range(6):
        ms = read(c, 200)
        p.begin_transaction()
        for m in ms:
            p.produce(out, key=m.key(), value=m.value())
        position = c.position(c.assignment())
        p.send_offsets_to_transaction(position, c.consumer_group_metadata(), PATIENCE)
        if round % 3 == 1:
            p.abort_transaction(PATIENCE)
            for tp in c.committed(c.assignment(), PATIENCE):
                c.seek(TopicPartition(tp.topic, tp.partition, max(tp.offset, 0)))
        else:
            p.commit_transaction(PATIENCE)
            written += len(ms)
    committed = sum(max(tp.offset, 0) for tp in c.committed([TopicPartition(source, i) for i in range(3)], PATIENCE))
    same("offsets committed with the records", written, committed)
    c.close()
    r = consumer("py-reader-%s" % run, isolation_level="read_committed")
    r.subscribe([out])
    values = [m.value() for m in read(r, written)]
    same("records twice", written, len(set(values)))
    same("more records", None, r.poll(1))
    r.close()
    # Another of the same id shuts this one out.
    q = Producer({**base, "transactional.id": "py-%s" % run})
    q.init_transactions(PATIENCE)
    try:
        p.begin_transaction()
        p.produce(out, value="zombie")
        p.commit_transaction(PATIENCE)
        sys.exit("FAIL python: a producer that was replaced could commit")
    except KafkaException as e:
        same("fatal", True, e.args[0].fatal())


def administration(admin, topic):
    done(admin.create_partitions([NewPartitions(topic, 5)]))
    eventually("new partitions", lambda: len(admin.list_topics(topic, PATIENCE).topics[topic].partitions) == 5)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    (configs,) = done(admin.describe_configs([resource])).values()
    same("retention.ms", "3600000", configs["retention.ms"].value)
    resource.add_incremental_config(ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET))
    done(admin.incremental_alter_configs([resource]))

    def altered():
        (configs,) = done(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)])).values()
        return configs["retention.ms"].value == "7200000"

    eventually("the new retention", altered)
    spec = {TopicPartition(topic, 0): OffsetSpec.latest()}
    (latest,) = done(admin.list_offsets(spec, isolation_level=IsolationLevel.READ_COMMITTED)).values()
    done(admin.delete_records([TopicPartition(topic, 0, latest.offset // 2)]))
    (earliest,) = done(admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.earliest()})).values()
    same("start after DeleteRecords", latest.offset // 2, earliest.offset)
    cluster = admin.describe_cluster().result(PATIENCE)
    same("brokers", 1, len(cluster.nodes))
    done(admin.delete_topics([topic, "py-out-%s" % run]))
    eventually("the end of the topic", lambda: topic not in admin.list_topics(timeout=PATIENCE).topics)


def main():
    admin = AdminClient(base)
    topic = produce_and_read(admin)
    transactions(admin, topic)
    administration(admin, topic)
    print("ok python")


main()
