package device

import "errors"

// Errors that callers branch on. The numbers are those of azure-iot-wire 12.
var (
	ErrFormat               = errors.New("malformed JSON")              // 400006
	ErrArgument             = errors.New("invalid argument")            // 400004
	ErrNull           error = &missing{}                                // 400005; it is an ErrArgument
	ErrTooLarge             = errors.New("too large")                   // 413001
	ErrNotFound             = errors.New("device not found")            // 404001
	ErrExists               = errors.New("device already exists")       // 409001
	ErrPrecondition         = errors.New("etag does not match")         // 412001
	ErrQueueFull            = errors.New("command queue is full")       // 403004
	ErrLockLost             = errors.New("lock of the command is lost") // 412002
	ErrModuleNotFound       = errors.New("module not found")            // 404010
	ErrModuleExists         = errors.New("module already exists")       // 409301
	ErrTooManyModules       = errors.New("too many modules")            // 413003
	ErrScope                = errors.New("unknown device scope")        // 400, InvalidDeviceScope
	ErrCorrupt              = errors.New("corrupt record")              // stored bytes that this code can't read
)

// missing is the error for an argument that is not there.
type missing struct{}

func (*missing) Error() string { return "missing argument" }
func (*missing) Unwrap() error { return ErrArgument }
