package partition

import "github.com/gemello/gemello/windows"

// Record is one record of the input partition. A core keeps no reference to
// its slices after Apply returns.
type Record struct {
	Offset  int64
	Arrival windows.Tick // the record's Kafka timestamp
	Key     []byte
	Value   []byte
	Headers []Header
}

// Header is one Kafka header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the first header of that name, or nil.
func (r *Record) Header(name string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return r.Headers[i].Value
		}
	}
	return nil
}
