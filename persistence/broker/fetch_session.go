package broker

// fetchSessions are the incremental fetch sessions (KIP-227) of a connection.
type fetchSessions struct{}
