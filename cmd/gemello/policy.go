package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/device/credential"
)

func newPolicyCmd(a *app) *cobra.Command {
	return commandGroup("policy", "List, create, delete and rotate shared access policies",
		newPolicyListCmd(a), newPolicyCreateCmd(a), newPolicyUpdateCmd(a), newPolicyDeleteCmd(a),
		newPolicyRotateCmd(a), newPolicyShowCmd(a))
}

func policyPath(name string) string { return "/policies/" + url.PathEscape(name) }

type policySummary struct {
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
}

func newPolicyListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List policies with their permissions", Args: cobra.NoArgs}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var out struct {
				Policies []policySummary `json:"policies"`
			}
			if err := c.call(ctx, "GET", "/policies", nil, nil, nil, &out); err != nil {
				return err
			}
			if f.json {
				return f.printJSON(out.Policies)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "POLICY\tPERMISSIONS")
			for _, p := range out.Policies {
				fmt.Fprintf(w, "%s\t%s\n", p.Name, strings.Join(p.Permissions, ", "))
			}
			return w.Flush()
		})
	}
	return cmd
}

func newPolicyCreateCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "create NAME --permissions LIST", Short: "Create a policy; keys that are not given are generated", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	permissions := permissionsFlag(cmd)
	primary := cmd.Flags().String("primary-key", "", "primary key, base64 of 16 to 64 bytes, to keep that of another hub")
	secondary := cmd.Flags().String("secondary-key", "", "secondary key, base64 of 16 to 64 bytes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"permissions": *permissions, "primaryKey": *primary, "secondaryKey": *secondary}
		return f.putPolicy(cmd, args[0], createOnly(), body, "created")
	}
	return cmd
}

func newPolicyUpdateCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "update NAME --permissions LIST", Short: "Change the permissions of a policy; connections that lose their right are cut", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	permissions := permissionsFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			// Only one that is there is changed.
			if err := c.call(ctx, "GET", policyPath(args[0]), nil, nil, nil, nil); err != nil {
				return err
			}
			return f.putPolicy(cmd, args[0], nil, map[string]any{"permissions": *permissions}, "updated")
		})
	}
	return cmd
}

func permissionsFlag(cmd *cobra.Command) *[]string {
	list := cmd.Flags().StringSlice("permissions", nil, "of "+credential.AllPermissions.String())
	if err := cmd.MarkFlagRequired("permissions"); err != nil {
		panic(err) // it was declared one line above
	}
	return list
}

func (f *adminFlags) putPolicy(cmd *cobra.Command, name string, header http.Header, body map[string]any, done string) error {
	return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
		var raw json.RawMessage
		if err := c.call(ctx, "PUT", policyPath(name), nil, header, body, &raw); err != nil {
			return err
		}
		if f.json {
			return f.printRaw(raw)
		}
		_, err := fmt.Fprintf(f.app.stdout, "%s %s; its connection string: gemello policy show-connection-string %s\n", done, name, shellQuote(name))
		return err
	})
}

func newPolicyDeleteCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Short: "Delete a policy; connections that used it are cut", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.deleteNamed(cmd, policyPath(args[0]), args[0])
	}
	return cmd
}

func newPolicyRotateCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate NAME --key primary|secondary", Short: "Make a new key for a policy; connections that used the old one are cut",
		Long: "Make a new key for a policy. To change both without a gap: move clients to the secondary key,\n" +
			"rotate the primary, move them to it, rotate the secondary.",
		Args: cobra.ExactArgs(1),
	}
	f := addAdminFlags(a, cmd)
	slot := cmd.Flags().String("key", "", "primary or secondary")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *slot != credential.Primary && *slot != credential.Secondary {
			return &configError{Key: "--key", Value: *slot, Allowed: "primary or secondary"}
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, "POST", policyPath(args[0])+"/regenerate", nil, nil, map[string]string{"key": *slot}, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			_, err := fmt.Fprintf(a.stdout, "%s has a new %s key; its connection string: gemello policy show-connection-string %s --key %s\n", args[0], *slot, shellQuote(args[0]), *slot)
			return err
		})
	}
	return cmd
}

func newPolicyShowCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "show-connection-string NAME", Short: "Print the connection string of a policy", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	slot := cmd.Flags().String("key", credential.Primary, "primary or secondary")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var out struct {
				ConnectionString string `json:"connectionString"`
			}
			q := url.Values{"policy": {args[0]}, "key": {*slot}}
			if err := c.call(ctx, "GET", "/connection-string", q, nil, nil, &out); err != nil {
				return err
			}
			if f.json {
				return f.printJSON(out)
			}
			_, err := fmt.Fprintln(a.stdout, out.ConnectionString)
			return err
		})
	}
	return cmd
}
