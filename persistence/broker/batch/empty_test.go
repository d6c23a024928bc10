package batch

import "testing"

func TestEmptyCoversItsOffsets(t *testing.T) {
	h, err := Intact(Empty(10, 4, 1000))
	if err != nil {
		t.Fatal(err)
	}
	if h.Base != 10 || h.Next() != 15 || h.Count != 0 || h.MaxTimestamp != 1000 {
		t.Errorf("header %+v", h)
	}
	if h.ProducerID != -1 || h.Epoch != -1 || h.FirstSequence != -1 || h.Transactional() || h.Control() {
		t.Errorf("it has a producer: %+v", h)
	}
	for r, err := range Records(Empty(10, 4, 1000), 1<<10) {
		t.Errorf("record %+v, %v", r, err)
	}
}
