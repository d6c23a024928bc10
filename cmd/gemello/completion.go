package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

const (
	// completeWithin bounds what a shell waits for while somebody types.
	completeWithin = 2 * time.Second
	maxCompletions = 100
)

// completeIDs completes a command's one argument with ids that a node lists, in
// a member of each object at a path. A shell that can't reach the node gets
// none, and no error.
func (a *app) completeIDs(path, member string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		f := &adminFlags{app: a}
		for name, into := range map[string]*string{"admin": &f.admin, "token-file": &f.tokenFile, "data": &f.data, "ca": &f.ca} {
			*into, _ = cmd.Flags().GetString(name) // declared by addAdminFlags
		}
		ids, err := f.listedIDs(cmd.Context(), path, member)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

func (f *adminFlags) listedIDs(ctx context.Context, path, member string) ([]string, error) {
	c, err := f.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	var all []map[string]json.RawMessage
	if err := c.call(ctx, http.MethodGet, path, nil, nil, nil, &all); err != nil {
		return nil, err
	}
	var ids []string
	for _, one := range all[:min(len(all), maxCompletions)] {
		var id string
		if json.Unmarshal(one[member], &id) == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
