package sim

import (
	"errors"
	"fmt"
	"time"
)

// What can be wrong with a twin.
var (
	errTwinLost    = errors.New("an accepted patch is lost")
	errTwinDoubled = errors.New("a patch was applied more than once")
	errTwinWrong   = errors.New("it holds what no order of its patches leaves")
)

// TwinsVerdict is what a run of twins found.
type TwinsVerdict struct {
	Devices, Patches      int
	Accepted              int // answered with a version
	Unknown               int // not answered
	Applied               int // of the unknown ones, as reading shows
	Notifications, Missed int
	Kills                 int
	Lost, Doubled, Wrong  int
	Findings              []string // the first ones, in words
	Elapsed               time.Duration
}

// Passed reports whether nothing was found.
func (v *TwinsVerdict) Passed() bool { return v.Lost+v.Doubled+v.Wrong == 0 }

func (v *TwinsVerdict) String() string {
	word := "PASSED"
	if !v.Passed() {
		word = "FAILED"
	}
	return fmt.Sprintf("%s: %d twins, %d patches in %.1f s: %d accepted, %d without an answer of which %d applied; %d kills; %d notifications, %d missed; %d lost, %d doubled, %d wrong",
		word, v.Devices, v.Patches, v.Elapsed.Seconds(), v.Accepted, v.Unknown, v.Applied, v.Kills, v.Notifications, v.Missed, v.Lost, v.Doubled, v.Wrong)
}

func (v *TwinsVerdict) find(err error) {
	count := &v.Wrong
	switch {
	case errors.Is(err, errTwinLost):
		count = &v.Lost
	case errors.Is(err, errTwinDoubled):
		count = &v.Doubled
	}
	*count++
	if *count <= maxFindings {
		v.Findings = append(v.Findings, err.Error())
	}
}
