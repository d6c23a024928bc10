package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gemello/gemello/device"
)

// Backups writes backups of the hub.
type Backups interface {
	// Backup writes the hub's state while it runs; withKey adds the secrets that a
	// hub needs that is to run on another machine. Nothing is written before an
	// error that a client can be told.
	Backup(ctx context.Context, w io.Writer, withKey bool) error
}

// backup streams a backup. One that fails on its way is cut off, so that nobody
// takes it for a whole.
func (a *Admin) backup(_ context.Context, c *call) error {
	withKey := false
	if v := c.r.URL.Query().Get("key"); v != "" {
		var err error
		if withKey, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("%w: key %.20q, allowed are true and false", device.ErrArgument, v)
		}
	}
	done, err := a.beginMove()
	if err != nil {
		return err
	}
	defer done()
	a.log.Info("backup begun", "key", withKey, "address", c.r.RemoteAddr, "request", c.requestID)
	w := &binaryStream{c: c, control: http.NewResponseController(c.w)}
	err = a.o.Backups.Backup(c.r.Context(), w, withKey)
	if err == nil || c.status == 0 {
		return err
	}
	a.log.Error("backup broke off", "request", c.requestID, "err", err)
	panic(http.ErrAbortHandler)
}

// binaryStream answers with bytes as they come.
type binaryStream struct {
	c       *call
	control *http.ResponseController
}

func (s *binaryStream) Write(p []byte) (int, error) {
	if s.c.status == 0 {
		s.c.w.Header().Set("Content-Type", "application/octet-stream")
		s.c.status = http.StatusOK
		s.c.w.WriteHeader(http.StatusOK)
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(tailWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, errGone
	}
	return s.c.w.Write(p)
}
