package access

// Anonymous is the name of who does not log in.
const Anonymous = "ANONYMOUS"

// Principal is who a connection is. The zero value may do nothing.
type Principal struct {
	// Name is without Kafka's type, which is always "User".
	Name string
	// Super may do everything, whatever the rules say.
	Super bool
}

// String is the name as Kafka's tools write it.
func (p Principal) String() string { return "User:" + p.Name }
