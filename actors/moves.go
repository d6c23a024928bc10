package actors

import (
	"context"
	"fmt"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
)

// Partitions is how many partitions the device log has.
func (n *Node) Partitions() int32 { return int32(len(n.devices)) }

// Documents returns up to limit devices and modules of one partition above after,
// in order of device and module id: a device comes before its modules. It is a
// look at the core at one position; two calls are two looks.
func (n *Node) Documents(ctx context.Context, p int32, after device.Ref, limit int) ([]device.Document, error) {
	if p < 0 || int(p) >= len(n.devices) {
		return nil, fmt.Errorf("partition %d of %d: %w", p, len(n.devices), device.ErrArgument)
	}
	var part []partition.Device
	var err error
	if e := n.devices[p].do(ctx, func(c core) { part, err = c.(*devicesCore).ListEntities(after, limit) }); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	docs := make([]device.Document, len(part))
	for i := range part {
		docs[i] = part[i].Document
	}
	return docs, nil
}

// ImportReported merges a patch into an entity's reported properties for a caller
// that waits.
func (n *Node) ImportReported(ctx context.Context, ref device.Ref, patch []byte, a device.Audit) error {
	_, err := n.call(ctx, device.KindReported, ref.Device, patch, controlHeaders(ref, a))
	return err
}
