package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/device/throttle"
	"golang.org/x/sync/errgroup"
)

const (
	maxBulk = 100
	// maxBulkBody is room for a hundred devices with twins of usual size.
	maxBulkBody = 4 << 20
	// bulkWorkers is how many devices of a request are worked on at a time: they
	// share the log's batches, and more would only queue there.
	bulkWorkers = 16
)

// importer carries out import records, one at a time and from many goroutines.
type importer struct {
	hub    Hub
	sealer *credential.Sealer
	random io.Reader
}

// importRecord is one item of a bulk request.
type importRecord struct {
	deviceInput
	ID         string          `json:"id"`
	ETag       string          `json:"eTag"`
	ImportMode string          `json:"importMode"`
	TwinETag   string          `json:"twinETag"`
	Tags       json.RawMessage `json:"tags"`
	Properties *struct {
		Desired  json.RawMessage `json:"desired"`
		Reported json.RawMessage `json:"reported"` // read by imports of the admin API alone
	} `json:"properties"`
}

func (r *importRecord) ref() device.Ref { return device.Ref{Device: r.ID, Module: r.ModuleID} }

// bulkError is an item that failed.
type bulkError struct {
	DeviceID    string `json:"deviceId"`
	ErrorCode   string `json:"errorCode"`
	ErrorStatus string `json:"errorStatus"`
	ModuleID    string `json:"moduleId"`
	Operation   string `json:"operation"`
}

// bulkWarning is an item that was carried out in part.
type bulkWarning struct {
	DeviceID      string `json:"deviceId"`
	WarningCode   string `json:"warningCode"`
	WarningStatus string `json:"warningStatus"`
}

type bulkResult struct {
	IsSuccessful bool          `json:"isSuccessful"`
	Errors       []bulkError   `json:"errors"`
	Warnings     []bulkWarning `json:"warnings"`
}

// bulkDevices carries out the items of a request independently of each other.
func (s *Service) bulkDevices(ctx context.Context, c *call) error {
	var records []importRecord
	if err := c.decode(maxBulkBody, &records); err != nil {
		return err
	}
	if len(records) > maxBulk {
		return errTooMany
	}
	// The request itself has been counted as one.
	if err := s.take(throttle.Registry, len(records)-1); err != nil {
		return err
	}
	failed := make([]error, len(records))
	withoutTwin := make([]error, len(records))
	seen := map[device.Ref]bool{}
	var g errgroup.Group
	g.SetLimit(bulkWorkers)
	for i := range records {
		ref := records[i].ref()
		if seen[ref] {
			failed[i] = fmt.Errorf("%w: %.280q", errTwice, ref)
			continue
		}
		seen[ref] = true
		g.Go(func() error {
			failed[i], withoutTwin[i] = s.records().importOne(ctx, &records[i], c.audit)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	out := bulkResult{IsSuccessful: true, Errors: []bulkError{}, Warnings: []bulkWarning{}}
	for i := range records {
		r := &records[i]
		if err := failed[i]; err != nil {
			f := classify(err)
			out.IsSuccessful = false
			out.Errors = append(out.Errors, bulkError{r.ID, f.name, f.message(err), r.ModuleID, r.ImportMode})
		}
		if err := withoutTwin[i]; err != nil {
			out.Warnings = append(out.Warnings, bulkWarning{r.ID, "DeviceRegisteredWithoutTwin", classify(err).message(err)})
		}
	}
	status := http.StatusOK
	if !out.IsSuccessful {
		status = http.StatusBadRequest
		c.w.Header().Set("iothub-errorcode", "BulkRegistryOperationFailure")
	}
	return c.reply(status, marshal(out))
}

func (s *Service) records() *importer { return &importer{s.hub, s.sealer, s.random} }

// importOne carries out one item. twin is the error of setting the twin of a
// device that was made.
func (s *importer) importOne(ctx context.Context, r *importRecord, a device.Audit) (err, twin error) {
	if err := r.ref().Valid(); err != nil {
		return err, nil
	}
	switch strings.ToLower(r.ImportMode) {
	case "", "create":
		return s.importPut(ctx, r, "", a)
	case "update":
		return s.importPut(ctx, r, "*", a)
	case "updateifmatchetag":
		return s.importPut(ctx, r, given(r.ETag), a)
	case "createorupdate", "createorupdateifmatchetag":
		match := "*"
		if strings.EqualFold(r.ImportMode, "createOrUpdateIfMatchETag") {
			match = given(r.ETag)
		}
		err, twin = s.importPut(ctx, r, "", a)
		if errors.Is(err, device.ErrExists) || errors.Is(err, device.ErrModuleExists) {
			return s.importPut(ctx, r, match, a)
		}
		return err, twin
	case "delete":
		return s.hub.DeleteIdentity(ctx, r.ref(), "*", a), nil
	case "deleteifmatchetag":
		return s.hub.DeleteIdentity(ctx, r.ref(), given(r.ETag), a), nil
	case "updatetwin":
		return s.importTwin(ctx, r, "*", a), nil
	case "updatetwinifmatchetag":
		return s.importTwin(ctx, r, given(r.TwinETag), a), nil
	}
	return fmt.Errorf("%w: import mode %.40q", device.ErrArgument, r.ImportMode), nil
}

// given is an etag from a body; a missing one must not turn into "no condition".
func given(etag string) string {
	if e := bareETag(etag); e != "" {
		return e
	}
	return noETag
}

func (s *importer) importPut(ctx context.Context, r *importRecord, match string, a device.Audit) (err, twin error) {
	change, err := r.change(r.ref(), match, s.sealer, s.random, a)
	if err != nil {
		return err, nil
	}
	change.KeepScope = true
	if _, err = s.hub.PutIdentity(ctx, change); err != nil {
		return err, nil
	}
	if len(r.Tags) > 0 || r.Properties != nil && len(r.Properties.Desired) > 0 {
		twin = s.importTwin(ctx, r, "*", a)
	}
	return nil, twin
}

func (s *importer) importTwin(ctx context.Context, r *importRecord, match string, a device.Audit) error {
	patch := map[string]any{}
	if len(r.Tags) > 0 {
		patch["tags"] = r.Tags
	}
	if r.Properties != nil && len(r.Properties.Desired) > 0 {
		patch["properties"] = map[string]any{"desired": r.Properties.Desired}
	}
	body := marshal(patch)
	_, err := s.hub.PatchTwin(ctx, device.TwinChange{DeviceID: r.ID, ModuleID: r.ModuleID, Body: body, IfMatch: match, Audit: a})
	return err
}
