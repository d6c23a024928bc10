package partition

import "github.com/gemello/gemello/device"

// CommandFigures count what happened to commands since the core was built;
// Queued is how many there are. What a replay repeats is not counted again.
type CommandFigures struct {
	Queued    int64
	Enqueued  int64
	Refused   int64 // the queue was full, or the command invalid
	Delivered int64 // deliveries begun
	Completed int64
	Abandoned int64 // put back into the queue by the device
	Returned  int64 // put back, as a lock timed out or a connection was lost
	Rejected  int64
	Expired   int64
	Exceeded  int64 // delivered as often as they may be
	Purged    int64
}

// DeadLetters counts the commands that ended as dead letters.
func (f *CommandFigures) DeadLetters() int64 { return f.Rejected + f.Expired + f.Exceeded }

// figure adds n to a figure, but for a replay.
func (d *Devices) figure(figure *int64, n int) {
	if !d.suppressed {
		*figure += int64(n)
	}
}

func (d *Devices) figureEnd(e device.CommandEnd) {
	f := &d.commands
	switch e {
	case device.EndSuccess:
		d.figure(&f.Completed, 1)
	case device.EndExpired:
		d.figure(&f.Expired, 1)
	case device.EndDeliveries:
		d.figure(&f.Exceeded, 1)
	case device.EndRejected:
		d.figure(&f.Rejected, 1)
	case device.EndPurged:
		d.figure(&f.Purged, 1)
	}
}
