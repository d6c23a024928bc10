package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// Moves is what exports and imports need of the hub beside Hub. Its methods may
// be called from any goroutine; their errors are those of Hub.
type Moves interface {
	// Partitions is how many parts the registry has.
	Partitions() int32
	// Documents returns up to limit devices and modules of one part in the order of
	// their ids, from the first above after on; a device comes before its modules.
	// Fewer than limit means that there are no more.
	Documents(ctx context.Context, partition int32, after device.Ref, limit int) ([]device.Document, error)
	// PatchReported merges a patch into reported properties on the device's
	// behalf and returns when it is applied.
	PatchReported(ctx context.Context, ref device.Ref, patch []byte, a device.Audit) error
}

const (
	// maxMoves bounds the exports and imports under way: each keeps hundreds of
	// lines in memory.
	maxMoves = 4
	// exportPage is short, since a core does nothing else while it makes one.
	exportPage = 250
)

// exportLine is a device or module as the cloud's export job writes it
// (azure-iot-wire 5.7), with its reported properties beside.
type exportLine struct {
	ID             string             `json:"id"`
	ModuleID       string             `json:"moduleId,omitempty"`
	ManagedBy      string             `json:"managedBy,omitempty"`
	ETag           string             `json:"eTag"`
	ImportMode     string             `json:"importMode"`
	Status         string             `json:"status,omitempty"` // modules have none
	StatusReason   *string            `json:"statusReason"`
	Authentication authenticationJSON `json:"authentication"`
	TwinETag       string             `json:"twinETag"`
	Tags           json.RawMessage    `json:"tags"`
	Properties     exportProperties   `json:"properties"`
	Capabilities   capabilitiesJSON   `json:"capabilities"`
	DeviceScope    string             `json:"deviceScope"`
	ParentScopes   []string           `json:"parentScopes"`
}

type exportProperties struct {
	Desired  json.RawMessage `json:"desired"`
	Reported json.RawMessage `json:"reported"`
}

func exportOf(s *credential.Sealer, d *device.Document, keys bool) ([]byte, error) {
	e, err := deviceOf(s, d.Entry)
	if err != nil {
		return nil, err
	}
	if !keys {
		e.Authentication.SymmetricKey = keysJSON{}
	}
	t := &d.Twin
	module := d.Identity.ModuleID
	if module != "" {
		e.Status = ""
	}
	return marshal(exportLine{
		ID: e.DeviceID, ModuleID: module, ManagedBy: d.Identity.ManagedBy, ETag: e.ETag, ImportMode: "create", Status: e.Status, StatusReason: e.StatusReason,
		Authentication: e.Authentication, TwinETag: t.ETag(), Tags: t.Tags.AppendDocument(nil),
		Properties:   exportProperties{t.Desired.AppendDocument(nil), t.Reported.AppendDocument(nil)},
		Capabilities: e.Capabilities, DeviceScope: e.DeviceScope, ParentScopes: e.ParentScopes,
	}), nil
}

// exportDevices streams all devices and their modules, one import record a line, partition by
// partition. An error after the first line is the last line.
func (a *Admin) exportDevices(_ context.Context, c *call) error {
	keys := true
	if v := c.r.URL.Query().Get("keys"); v != "" {
		var err error
		if keys, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("%w: keys %.20q, allowed are true and false", device.ErrArgument, v)
		}
	}
	done, err := a.beginMove()
	if err != nil {
		return err
	}
	defer done()
	a.log.Info("devices exported", "keys", keys, "address", c.r.RemoteAddr, "request", c.requestID)
	w := newLineWriter(c)
	return w.close(a.export(c.r.Context(), keys, w.line))
}

// beginMove takes one of the places for exports and imports; done gives it back.
func (a *Admin) beginMove() (done func(), err error) {
	select {
	case a.moves <- struct{}{}:
		return func() { <-a.moves }, nil
	default:
		return nil, fmt.Errorf("%w: %d exports, imports and backups are under way", ErrThrottled, maxMoves)
	}
}

func (a *Admin) export(ctx context.Context, keys bool, line func([]byte) error) error {
	for p := range a.o.Moves.Partitions() {
		after := device.Ref{}
		for {
			var page []device.Document
			err := a.patiently(ctx, func(ctx context.Context) (err error) {
				page, err = a.o.Moves.Documents(ctx, p, after, exportPage)
				return err
			})
			if err != nil {
				return err
			}
			for i := range page {
				text, err := exportOf(a.o.Sealer, &page[i], keys)
				if err == nil {
					err = line(text)
				}
				if err != nil {
					return err
				}
			}
			if len(page) < exportPage {
				break
			}
			after = page[len(page)-1].Identity.Ref()
		}
	}
	return nil
}

// patience is how long a stream waits for a partition that is moving or
// recovering before it breaks off.
const patience = 30 * time.Second

// patiently repeats fn while the hub is unavailable or busy.
func (a *Admin) patiently(ctx context.Context, fn func(context.Context) error) error {
	bound, stop := context.WithTimeout(ctx, patience)
	defer stop()
	wait := time.NewTimer(0)
	defer wait.Stop()
	pause := 10 * time.Millisecond
	var last error
	for {
		select {
		case <-wait.C:
		case <-bound.Done():
			if last == nil || ctx.Err() != nil {
				last = bound.Err()
			}
			return last
		}
		err := fn(bound)
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrThrottled) {
			return err
		}
		last = err
		wait.Reset(pause)
		pause = min(2*pause, time.Second)
	}
}
