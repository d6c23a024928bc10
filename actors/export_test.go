package actors

import "context"

// Reconcile lets tests run what the node does every few seconds.
func (n *Node) Reconcile(ctx context.Context) error { return n.reconcile(ctx) }
