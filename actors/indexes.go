package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// settingIndexes is the setting of the indexes: indexSetting.
const settingIndexes = "indexes"

// How many indexes there may be of each origin; together partition.MaxIndexes.
const (
	maxOwnIndexes    = 16 // made by people
	maxConfigIndexes = 8  // of the target conditions of configurations
	maxQueryIndexes  = 8  // of queries seen often
)

// Origins of an index.
const (
	IndexByOperator = "operator"
	IndexByConfig   = "configurations"
	IndexByQueries  = "queries"
)

// ErrNoIndex: there is no index on the path that could be dropped.
var ErrNoIndex = errors.New("no such index")

// indexSetting is the value of the setting.
type indexSetting struct {
	Paths   []string `json:"paths"`             // made by people, in order of their making
	Queries []string `json:"queries,omitempty"` // made because of queries
	Never   []string `json:"never,omitempty"`   // not to be made because of queries
}

// IndexView is an index as its operators see it.
type IndexView struct {
	Path       string   `json:"path"`
	By         []string `json:"by"`         // what it is there for
	Ready      bool     `json:"ready"`      // used in every partition
	Partitions int      `json:"partitions"` // in which it is used
}

// indexing is what a node does about indexes.
type indexing struct {
	wake chan struct{} // holds one token after a change

	mu     sync.Mutex // guards the following; nothing is called while it is held
	scans  map[string]int
	halved time.Time
}

func newIndexing() indexing {
	return indexing{wake: make(chan struct{}, 1), scans: map[string]int{}}
}

func (n *Node) indexSetting() (s indexSetting, err error) {
	if v := n.settings.get(settingIndexes); v != nil {
		err = json.Unmarshal(v, &s)
	}
	if err != nil {
		err = fmt.Errorf("setting %s: %w", settingIndexes, err)
	}
	return s, err
}

// wantedIndexes returns the paths that are to have an index, in order, and what
// for. It is a function of the settings.
func (n *Node) wantedIndexes() (map[string][]string, error) {
	s, err := n.indexSetting()
	if err != nil {
		return nil, err
	}
	by := map[string][]string{}
	add := func(paths []string, limit int, origin string) {
		for _, p := range paths {
			if limit == 0 {
				return
			}
			if !slices.Contains(by[p], origin) {
				by[p] = append(by[p], origin)
				limit--
			}
		}
	}
	add(s.Paths, maxOwnIndexes, IndexByOperator)
	all, err := n.configurations()
	if err != nil {
		return nil, err
	}
	var targets []string
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if q, err := query.ParseCondition(all[id].Condition); err == nil {
			q.Reach().Paths(func(p string) { targets = append(targets, p) })
		}
	}
	add(targets, maxConfigIndexes, IndexByConfig)
	add(s.Queries, maxQueryIndexes, IndexByQueries)
	return by, nil
}

// CreateIndex makes an index over a path and reports whether it is new. It is
// used when it has been built, which goes on after the return. The error wraps
// device.ErrArgument.
func (n *Node) CreateIndex(ctx context.Context, path string, a device.Audit) (text string, created bool, err error) {
	p, err := query.ParseIndexPath(path)
	if err != nil {
		return "", false, err
	}
	text, _ = p.IndexText()
	err = n.changeIndexes(ctx, "create", text, a, func(s *indexSetting) error {
		if slices.Contains(s.Paths, text) {
			return errSame
		}
		if len(s.Paths) == maxOwnIndexes {
			return fmt.Errorf("%w: there are %d indexes, as many as are allowed; drop one first", device.ErrArgument, maxOwnIndexes)
		}
		without(&s.Never, text)
		without(&s.Queries, text)
		s.Paths = append(s.Paths, text)
		return nil
	})
	if errors.Is(err, errSame) {
		return text, false, nil
	}
	return text, err == nil, err
}

// DropIndex removes an index that CreateIndex or queries have made; it will not
// be made again because of queries. The errors wrap ErrNoIndex and
// device.ErrArgument.
func (n *Node) DropIndex(ctx context.Context, path string, a device.Audit) error {
	p, err := query.ParseIndexPath(path)
	if err != nil {
		return err
	}
	text, _ := p.IndexText()
	return n.changeIndexes(ctx, "drop", text, a, func(s *indexSetting) error {
		if without(&s.Paths, text) || without(&s.Queries, text) {
			if s.Never = append(s.Never, text); len(s.Never) > 4*maxQueryIndexes {
				s.Never = s.Never[1:]
			}
			return nil
		}
		wanted, err := n.wantedIndexes()
		if err == nil && wanted[text] != nil {
			return fmt.Errorf("%w: the index on %s is there for the target condition of a configuration and goes with it", device.ErrArgument, text)
		}
		return fmt.Errorf("%w: %s", ErrNoIndex, text)
	})
}

func without(list *[]string, text string) bool {
	i := slices.Index(*list, text)
	if i < 0 {
		return false
	}
	*list = slices.Delete(*list, i, i+1)
	return true
}

// errSame ends a change that would change nothing.
var errSame = errors.New("as it is")

func (n *Node) changeIndexes(ctx context.Context, action, path string, a device.Audit, change func(*indexSetting) error) error {
	c := SettingChange{Setting: settingIndexes, Action: action, Object: "indexes/" + path, Audit: a}
	err := n.ChangeSetting(ctx, c, func(old []byte) ([]byte, error) {
		var s indexSetting
		if old != nil {
			if err := json.Unmarshal(old, &s); err != nil {
				return nil, fmt.Errorf("setting %s: %w", settingIndexes, err)
			}
		}
		if err := change(&s); err != nil {
			return nil, err
		}
		return json.Marshal(&s)
	})
	if err == nil {
		n.wakeIndexes()
	}
	return err
}

func (n *Node) wakeIndexes() {
	select {
	case n.indexing.wake <- struct{}{}:
	default:
	}
}

// Indexes returns the indexes in order of their paths.
func (n *Node) Indexes(ctx context.Context) ([]IndexView, error) {
	wanted, err := n.wantedIndexes()
	if err != nil {
		return nil, err
	}
	views := map[string]*IndexView{}
	for p, by := range wanted {
		views[p] = &IndexView{Path: p, By: by}
	}
	for p := range n.devices {
		var states []partition.IndexState
		if err := n.devices[p].do(ctx, func(c core) { states = c.(*devicesCore).Indexes() }); err != nil {
			return nil, fmt.Errorf("indexes of partition %d: %w", p, err)
		}
		for _, s := range states {
			if v := views[s.Path]; v != nil && s.Ready {
				v.Partitions++
				v.Ready = v.Partitions == len(n.devices)
			}
		}
	}
	out := make([]IndexView, 0, len(views))
	for _, p := range slices.Sorted(maps.Keys(views)) {
		out = append(out, *views[p])
	}
	return out, nil
}

// Times of the driver of indexes.
const (
	indexLook  = time.Second            // between looks at partitions whose terms come and go
	indexSaved = 100 * time.Millisecond // for a core to save what was built
)

// driveIndexes makes the indexes of all partitions those of the settings and
// builds them in small steps, until ctx ends.
func (n *Node) driveIndexes(ctx context.Context) error {
	for {
		moved := n.SettingsMoved()
		building := false
		n.adoptQueryIndexes(ctx)
		for p := range int32(len(n.devices)) {
			more, err := n.index(ctx, p)
			if err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
				n.logger.Warn("bring indexes to a partition", "partition", p, "err", err)
			}
			building = building || more
		}
		wait := indexLook
		if building {
			wait = indexSaved
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-moved:
		case <-n.indexing.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// index brings one partition's indexes up to date as far as that goes without a
// save. It reports whether any is not ready.
func (n *Node) index(ctx context.Context, p int32) (building bool, err error) {
	wanted, err := n.wantedIndexes()
	if err != nil {
		return false, err
	}
	paths := slices.Sorted(maps.Keys(wanted))
	if e := n.devices[p].do(ctx, func(c core) {
		d := c.(*devicesCore)
		err = d.SetIndexes(paths)
		building = slices.ContainsFunc(d.Indexes(), func(s partition.IndexState) bool { return !s.Ready })
	}); e != nil {
		return false, e
	}
	for more := building; more && err == nil; {
		if e := n.devices[p].do(ctx, func(c core) { more, err = c.(*devicesCore).BuildIndexes(querySlice) }); e != nil {
			return building, e
		}
	}
	return building, err
}

// Rules for what queries are seen often: so many that had to pass far more rows
// than they returned, in about the time in which counts are halved.
const (
	oftenScanned = 20
	scanRows     = 2000 // passed at least
	scanWaste    = 20   // for one returned
	scanHalf     = 10 * time.Minute
	scanPaths    = 256 // that are counted
)

// noteScan counts a page of a query that an index might have answered.
func (n *Node) noteScan(reach *query.Reach, p *query.Plan) {
	rows := 0
	for _, a := range p.Access {
		n.metrics.queryRows.WithLabelValues(a.By).Add(float64(a.Rows))
		if a.By == query.ByScan {
			rows += a.Rows
		}
	}
	if reach == nil || rows < scanRows || rows < scanWaste*p.Returned {
		return
	}
	x := &n.indexing
	now := n.now()
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.Sub(x.halved) > scanHalf {
		x.halved = now
		for p, c := range x.scans {
			if x.scans[p] = c / 2; c < 2 {
				delete(x.scans, p)
			}
		}
	}
	reach.Paths(func(path string) {
		if x.scans[path] > 0 || len(x.scans) < scanPaths {
			if x.scans[path]++; x.scans[path] == oftenScanned {
				n.wakeIndexes()
			}
		}
	})
}

// adoptQueryIndexes puts paths that queries often ask for into the settings.
func (n *Node) adoptQueryIndexes(ctx context.Context) {
	x := &n.indexing
	x.mu.Lock()
	var often []string
	for p, c := range x.scans {
		if c >= oftenScanned {
			often = append(often, p)
			delete(x.scans, p)
		}
	}
	x.mu.Unlock()
	slices.Sort(often)
	for _, p := range often {
		wanted, err := n.wantedIndexes()
		if err != nil || wanted[p] != nil {
			continue
		}
		a := device.Audit{Actor: "node", Credential: "hub key", Address: "local", RequestID: "queries"}
		err = n.changeIndexes(ctx, "create", p, a, func(s *indexSetting) error {
			if slices.Contains(s.Never, p) || slices.Contains(s.Queries, p) || len(s.Queries) >= maxQueryIndexes {
				return errSame
			}
			s.Queries = append(s.Queries, p)
			return nil
		})
		if err != nil && !errors.Is(err, errSame) && ctx.Err() == nil {
			n.logger.Warn("make an index for queries", "path", p, "err", err)
		}
	}
}
