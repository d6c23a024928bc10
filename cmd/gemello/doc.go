// Command gemello runs a node of the hub and is its command line.
//
// It is the only place where packages are connected: everything else takes
// what it needs as arguments. Each file named after a subcommand holds that
// subcommand; [execute] is the whole program with its streams passed in, so that
// tests call it like a shell does.
//
// Nouns: a [Config] is the effective configuration (flag over environment
// over file over default); a data directory belongs to one process, which
// leaves its addresses in run.json there; an admin client is how every command
// other than serve and log reaches a node.
//
// Exit codes: 0 done, 1 failed, 2 usage or configuration. What is wrong with
// usage or configuration fits one line: the key, the value, what is allowed
// and the remedy.
package main
