package partition

import "github.com/gemello/gemello/windows"

// Figures are what a core knows about itself, summed since it was built where
// they are counters (semantics 17).
type Figures struct {
	Pipelines []PipelineFigures
	Devices   int64 // identities kept
	Routing   RoutingFigures
	Commands  CommandFigures
}

// PipelineFigures are those of one pipeline on one partition.
type PipelineFigures struct {
	Name        string
	In          int64 // records that reached its timeline
	Out         int64 // rows
	Late        int64
	OutOfOrder  int64
	Early       int64
	Adjusted    int64 // records whose time a policy moved
	Dropped     int64 // records that a policy kept from the windows
	PastGrace   int64
	TsInvalid   int64
	RowErrors   int64
	DeadLetters int64
	KeyMismatch int64 // records whose partition key is not the one they are grouped by
	NoWindow    int64
	IdleTicks   int64
	Watermark   windows.Tick
	Arrival     windows.Tick
	OpenWindows int
	OpenKeys    int
	StateBytes  int64
	Suspended   bool
}
