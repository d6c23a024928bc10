package actors

import (
	"errors"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

const (
	featureMethods = ingest.FeatureMethods
	featureCount   = ingest.Features
)

// featureChange says what a session's client can be sent from now on.
type featureChange struct {
	session string
	feature ingest.Feature
	on      bool
}

// feature notes what the client of the current session has subscribed to.
func (d *deviceActor) feature(m *featureChange) {
	if d.current == nil || d.current.ID != m.session || m.feature >= featureCount {
		return
	}
	d.ready[m.feature] = m.on
	if m.on && m.feature == featureMethods {
		d.sendWaiting()
	}
	if m.on && m.feature == ingest.FeatureCommands {
		d.askCommands()
	}
}

// endSession forgets the current session, which has ended or is about to.
func (d *deviceActor) endSession() {
	d.current = nil
	d.ready = [featureCount]bool{}
	d.commands = commandFlow{}
	d.methods.sessionEnded()
}

// Ready tells the device's actor what the session's client has subscribed to. It
// does not block.
func (n *Node) Ready(ref device.Ref, session string, f ingest.Feature, on bool) {
	n.sendLater(ref.String(), &featureChange{session, f, on}, 0)
}

// Messages that must not get lost are sent again while a mailbox is full.
const (
	resendAfter = 20 * time.Millisecond
	resends     = 100
)

func (n *Node) sendLater(entity string, msg any, tries int) {
	err := n.cluster.Send(entity, msg)
	switch {
	case err == nil:
	case isBusy(err) && tries < resends:
		time.AfterFunc(resendAfter, func() { n.sendLater(entity, msg, tries+1) })
	default:
		n.metrics.busy.Inc()
	}
}

// isBusy recognises a full queue, whichever package declares the error.
func isBusy(err error) bool {
	var b interface{ Busy() bool }
	return errors.As(err, &b) && b.Busy()
}
