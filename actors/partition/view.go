package partition

// View returns what analysts see of a record of the state topic: the twin with
// its status, without keys. ok is false for records that are of no device or
// module but of what a partition keeps beside them.
func View(key string, state []byte) (view []byte, ok bool, err error) {
	if !isEntityKey(key) {
		return nil, false, nil
	}
	d, err := decodeState(state)
	if err != nil {
		return nil, true, err
	}
	return d.AppendServiceView(nil), true, nil
}

// isEntityKey tells the keys of devices and modules in the state topic (device.Ref.Key)
// from all others: those of commands, feedback and the shelf.
func isEntityKey(key string) bool {
	return key != "" && key[0] != 0 && key[0] != '/' && !isContentKey(key)
}
