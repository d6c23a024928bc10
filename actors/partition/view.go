package partition

// View returns what analysts see of a record of the state topic: the twin with
// its status, without keys.
func View(state []byte) ([]byte, error) {
	d, err := decodeState(state)
	if err != nil {
		return nil, err
	}
	return d.AppendServiceView(nil), nil
}
