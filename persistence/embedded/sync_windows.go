package embedded

// syncDir does nothing: Windows has no way to ask for it, and makes names
// durable with the files.
func syncDir(string) error { return nil }
