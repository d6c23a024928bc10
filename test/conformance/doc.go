// Package conformance holds what clients may expect of any Kafka, as tests.
//
// They run against the broker that GEMELLO_KAFKA names as host:port, without
// TLS and users, or else against the module's own, started in this process.
// Apache Kafka 4.3.1 passes them all: an expectation that it does not meet is
// wrong. Each test states its rule and where the rule is written: a KIP or a
// field of the protocol. Topics, groups and transactional ids have names of
// their own run, so that the target may be in use.
//
// Against Apache Kafka these brokers' settings keep tests from waiting for
// minutes: log.retention.check.interval.ms, log.initial.task.delay.ms,
// log.cleaner.backoff.ms and
// transaction.abort.timed.out.transaction.cleanup.interval.ms of 1000,
// group.initial.rebalance.delay.ms of 0, and one replica for the internal
// topics.
package conformance
