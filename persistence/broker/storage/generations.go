package storage

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// ReserveGenerations returns a number from which on the next n numbers were not
// given out before, also not before a restart. Groups take their generations from
// them: a member that comes back with what it owned in an older generation must
// not pass for a newer one. After 2^31 numbers they begin again. Calls must not be
// concurrent. Error: KafkaStorageError.
func (l *Log) ReserveGenerations(ctx context.Context, n int32) (first int32, err error) {
	err = l.change(ctx, func(b *build) error {
		var v []byte
		err := b.db.view(func(db *pebble.DB) (err error) {
			v, err = get(db, keyGenerations)
			return err
		})
		if err != nil {
			return err
		}
		first = 0
		if len(v) == 4 {
			first = int32(binary.BigEndian.Uint32(v))
		}
		if first < 0 || first > math.MaxInt32-n {
			first = 0
		}
		b.set(keyGenerations, binary.BigEndian.AppendUint32(nil, uint32(first+n)))
		return nil
	})
	return first, err
}
