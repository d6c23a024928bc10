package actors

import (
	"context"

	"github.com/gemello/gemello/device/query"
)

// Reconcile lets tests run what the node does every few seconds.
func (n *Node) Reconcile(ctx context.Context) error { return n.reconcile(ctx) }

// NoteScan counts a page that passed rows and returned some of them.
func (n *Node) NoteScan(q *query.Query, rows, returned int) {
	n.noteScan(q.Reach(), &query.Plan{Access: []query.Access{{By: query.ByScan, Rows: rows}}, Returned: returned})
}
