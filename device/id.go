package device

import "fmt"

// MaxIDLength is the longest device or module id in bytes (azure-iot-wire 1.1).
const MaxIDLength = 128

// ValidID reports whether id may name a device or module: 1 to 128 ASCII
// letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ ' (azure-iot-wire 1.1).
// The error wraps ErrArgument.
func ValidID(id string) error {
	if id == "" {
		return fmt.Errorf("%w: the id is empty", ErrArgument)
	}
	if len(id) > MaxIDLength {
		return fmt.Errorf("%w: the id has %d characters, %d are allowed", ErrArgument, len(id), MaxIDLength)
	}
	for i := 0; i < len(id); i++ {
		if !idByte(id[i]) {
			return fmt.Errorf("%w: the id has the character %q at %d; letters, digits and - : . + %% _ # * ? ! ( ) , = @ ; $ ' are allowed", ErrArgument, id[i], i)
		}
	}
	return nil
}

func idByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '-', ':', '.', '+', '%', '_', '#', '*', '?', '!', '(', ')', ',', '=', '@', ';', '$', '\'':
		return true
	}
	return false
}
