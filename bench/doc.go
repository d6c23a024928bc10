// Package bench holds the workloads that gemello is measured with. Each prints
// Go benchmark lines, so that benchstat compares commits, and the command that
// runs it: gemello bench NAME.
//
// A workload measures the shipped code through its public face: the node's
// cores on a real log, the MQTT listener through sockets. Ratios against a
// floor or a peer count only within one run on one machine; recorded runs with
// machine and commit lie in bench/results.
//
// Nothing imports this package but cmd/gemello.
package bench
