package torture

// Seen is a record at an offset.
type Seen struct {
	Offset int64
	Record Record
}

// Bounds of a partition: everything below Stable is decided, High is the next
// offset.
type Bounds struct{ Stable, High int64 }

// Account is what a log holds. The lists are in the order in which the log gave
// them out.
type Account struct {
	// Committed is read without, All with the records of aborted transactions.
	Committed, All map[TopicPartition][]Seen
	// Live is what readers of committed records saw while the log was killed.
	Live map[TopicPartition][]Seen
	// Bounds and Offsets are taken when every transaction has ended.
	Bounds  map[TopicPartition]Bounds
	Offsets map[string]map[TopicPartition]int64
}

// NewAccount returns an empty account.
func NewAccount() *Account {
	return &Account{
		Committed: map[TopicPartition][]Seen{}, All: map[TopicPartition][]Seen{}, Live: map[TopicPartition][]Seen{},
		Bounds: map[TopicPartition]Bounds{}, Offsets: map[string]map[TopicPartition]int64{},
	}
}
