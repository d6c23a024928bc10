package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
)

func newConnectionStringCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connection-string (--policy NAME | --device ID [--module M])",
		Short: "Print a connection string of a running node",
		Args:  cobra.NoArgs,
	}
	f := addAdminFlags(a, cmd)
	var policy, device, module string
	cmd.Flags().StringVar(&policy, "policy", "", "shared access policy, such as iothubowner, service or device")
	cmd.Flags().StringVar(&device, "device", "", "device id")
	cmd.Flags().StringVar(&module, "module", "", "module id of the device")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case (policy == "") == (device == ""):
			return usagef("connection-string: give one of --policy NAME and --device ID")
		case module != "" && device == "":
			return usagef("connection-string: --module %q needs --device ID", module)
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			text, err := c.connectionString(ctx, policy, device, module)
			if err != nil {
				return err
			}
			if f.json {
				return f.printJSON(map[string]string{"connectionString": text})
			}
			_, err = fmt.Fprintln(a.stdout, text)
			return err
		})
	}
	return cmd
}

// connectionString asks for that of a policy, or of a device or its module.
func (c *adminClient) connectionString(ctx context.Context, policy, device, module string) (string, error) {
	q := make(url.Values)
	for _, p := range []struct{ name, value string }{{"policy", policy}, {"device", device}, {"module", module}} {
		if p.value != "" {
			q.Set(p.name, p.value)
		}
	}
	var out struct{ ConnectionString string }
	if err := c.call(ctx, "GET", "/connection-string", q, nil, nil, &out); err != nil {
		return "", err
	}
	return out.ConnectionString, nil
}
