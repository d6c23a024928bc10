package query

import "slices"

// Ways to the rows of a query.
const (
	ByScan  = "scan"  // every entity of the partition is looked at
	ByID    = "id"    // those that the condition names, or a range of ids
	ByIndex = "index" // those that an index leads to
)

// Access says how rows were reached, and what that cost.
type Access struct {
	By         string   `json:"access"`
	Indexes    []string `json:"indexes,omitempty"` // paths, in order
	Partitions []int32  `json:"partitions"`        // in order
	Entries    int      `json:"indexEntriesRead"`  // of indexes, also of those that were then not used
	Rows       int      `json:"rowsRead"`          // that the condition was evaluated for
}

// Plan says how a page of a query was answered.
type Plan struct {
	Access   []Access `json:"plan"`
	Returned int      `json:"rowsReturned"`
}

// Add counts another access.
func (p *Plan) Add(a Access) {
	for i := range p.Access {
		if x := &p.Access[i]; x.By == a.By && slices.Equal(x.Indexes, a.Indexes) {
			for _, n := range a.Partitions {
				if at, found := slices.BinarySearch(x.Partitions, n); !found {
					x.Partitions = slices.Insert(x.Partitions, at, n)
				}
			}
			x.Entries += a.Entries
			x.Rows += a.Rows
			return
		}
	}
	a.Partitions = slices.Clone(a.Partitions)
	p.Access = append(p.Access, a)
}

// Merge counts what another plan has done.
func (p *Plan) Merge(o *Plan) {
	for _, a := range o.Access {
		p.Add(a)
	}
	p.Returned += o.Returned
}
