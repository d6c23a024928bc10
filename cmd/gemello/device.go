package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newDeviceCmd(a *app) *cobra.Command {
	return commandGroup("device", "Create, read, delete, import and export devices",
		newDeviceCreateCmd(a), newDeviceShowCmd(a), newDeviceListCmd(a),
		newDeviceDeleteCmd(a), newDeviceImportCmd(a), newDeviceExportCmd(a))
}

// deviceSummary is what is shown of a device without --json; keys are left to
// --json and to connection-string.
type deviceSummary struct {
	DeviceID         string `json:"deviceId"`
	ModuleID         string `json:"moduleId"`
	ManagedBy        string `json:"managedBy"`
	Status           string `json:"status"`
	StatusReason     string `json:"statusReason"`
	ConnectionState  string `json:"connectionState"`
	LastActivityTime string `json:"lastActivityTime"`
	GenerationID     string `json:"generationId"`
	ETag             string `json:"etag"`
	Authentication   struct {
		Type string `json:"type"`
	} `json:"authentication"`
}

func newDeviceCreateCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "create ID", Short: "Create a device; keys that are not given are generated", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	var primary, secondary, thumbprint, thumbprint2, reason string
	var disabled, edge bool
	var module, managedBy string
	fs := cmd.Flags()
	fs.StringVar(&module, "module", "", "create this module of the device")
	fs.StringVar(&managedBy, "managed-by", "", "who looks after the module")
	fs.StringVar(&primary, "primary-key", "", "primary key, base64 of 16 to 64 bytes")
	fs.StringVar(&secondary, "secondary-key", "", "secondary key, base64 of 16 to 64 bytes")
	fs.StringVar(&thumbprint, "thumbprint", "", "SHA-1 or SHA-256 thumbprint of the device's certificate, in place of keys")
	fs.StringVar(&thumbprint2, "secondary-thumbprint", "", "second thumbprint")
	fs.BoolVar(&disabled, "disabled", false, "create it disabled")
	fs.StringVar(&reason, "status-reason", "", "why it has this status")
	fs.BoolVar(&edge, "edge", false, "it is an edge device")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if thumbprint != "" && (primary != "" || secondary != "") {
			return usagef("device create: give keys or thumbprints, not both")
		}
		if module == "" && managedBy != "" {
			return usagef("device create: --managed-by: %q is for modules; give --module too", managedBy)
		}
		if module != "" && (disabled || edge || reason != "") {
			return usagef("device create: --disabled, --status-reason and --edge are for devices; a module has none of them")
		}
		auth := map[string]any{"type": "sas", "symmetricKey": map[string]string{"primaryKey": primary, "secondaryKey": secondary}}
		if thumbprint != "" || thumbprint2 != "" {
			auth = map[string]any{"type": "selfSigned", "x509Thumbprint": map[string]string{"primaryThumbprint": thumbprint, "secondaryThumbprint": thumbprint2}}
		}
		status := "enabled"
		if disabled {
			status = "disabled"
		}
		body := map[string]any{
			"deviceId": args[0], "status": status, "authentication": auth,
			"capabilities": map[string]bool{"iotEdge": edge},
		}
		if reason != "" {
			body["statusReason"] = reason
		}
		name, option := args[0], ""
		if module != "" {
			body = map[string]any{"deviceId": args[0], "moduleId": module, "managedBy": managedBy, "authentication": auth}
			name, option = name+"/"+module, " --module "+shellQuote(module)
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var made json.RawMessage
			if err := c.call(ctx, "PUT", devicePath(args[0])+modulePath(module), nil, createOnly(), body, &made); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(made)
			}
			_, err := fmt.Fprintf(a.stdout, "created %s; its connection string: gemello connection-string --device %s%s\n", name, shellQuote(args[0]), option)
			return err
		})
	}
	return cmd
}

func newDeviceShowCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Print a device or module", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	module := addModuleFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var raw json.RawMessage
			if err := c.call(ctx, "GET", devicePath(args[0])+modulePath(*module), nil, nil, nil, &raw); err != nil {
				return err
			}
			if f.json {
				return f.printRaw(raw)
			}
			var d deviceSummary
			if err := json.Unmarshal(raw, &d); err != nil {
				return fmt.Errorf("read device %s: %w", args[0], err)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			for _, row := range [][2]string{
				{"device", d.DeviceID}, {"module", d.ModuleID}, {"managed by", d.ManagedBy}, {"status", d.Status}, {"reason", d.StatusReason},
				{"connection", d.ConnectionState}, {"last activity", d.LastActivityTime},
				{"authentication", d.Authentication.Type}, {"generation", d.GenerationID}, {"etag", d.ETag},
			} {
				if row[1] != "" {
					fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
				}
			}
			return w.Flush()
		})
	}
	return cmd
}

func newDeviceListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List devices", Args: cobra.NoArgs}
	f := addAdminFlags(a, cmd)
	limit := cmd.Flags().Int("limit", 0, "at most this many; 0: all")
	after := cmd.Flags().String("after", "", "only ids that sort after this one")
	of := cmd.Flags().String("modules-of", "", "list the modules of this device")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *of != "" {
			if *limit != 0 || *after != "" {
				return usagef("device list: --modules-of lists all modules of a device; leave out --limit and --after")
			}
			return f.withClient(cmd, func(ctx context.Context, c *adminClient) error { return f.printModules(ctx, c, *of) })
		}
		if *limit < 0 {
			return usagef("device list: --limit: \"%d\" is not allowed; allowed: 0 (all) or more", *limit)
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
			all := []json.RawMessage{}
			if !f.json {
				fmt.Fprintln(w, "DEVICE\tSTATUS\tCONNECTION\tAUTHENTICATION\tLAST ACTIVITY")
			}
			err := c.devices(ctx, *after, *limit, func(raw json.RawMessage) error {
				if f.json {
					all = append(all, raw)
					return nil
				}
				var d deviceSummary
				if err := json.Unmarshal(raw, &d); err != nil {
					return fmt.Errorf("read device: %w", err)
				}
				_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.DeviceID, d.Status, d.ConnectionState, d.Authentication.Type, d.LastActivityTime)
				return err
			})
			if err != nil {
				return err
			}
			if f.json {
				return f.printJSON(all)
			}
			return w.Flush()
		})
	}
	return cmd
}

func newDeviceDeleteCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID...", Short: "Delete devices with their modules, or one module", Args: cobra.MinimumNArgs(1)}
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	module := addModuleFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *module != "" && len(args) > 1 {
			return usagef("device delete: --module %q is of one device, not of %d", *module, len(args))
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			for _, id := range args {
				if err := c.call(ctx, "DELETE", devicePath(id)+modulePath(*module), nil, nil, nil, nil); err != nil {
					return fmt.Errorf("delete %s: %w", id, err)
				}
			}
			if f.json {
				return f.printJSON(map[string]any{"deleted": args})
			}
			_, err := fmt.Fprintf(a.stdout, "deleted %d\n", len(args))
			return err
		})
	}
	return cmd
}

// devicePage is how many devices one call asks for.
const devicePage = 500

// devices visits devices in the order of their ids, page by page.
func (c *adminClient) devices(ctx context.Context, after string, limit int, visit func(json.RawMessage) error) error {
	for seen := 0; ; {
		page := devicePage
		if limit > 0 {
			page = min(page, limit-seen)
		}
		var out struct {
			Devices []json.RawMessage
			Next    string
		}
		q := url.Values{"limit": {strconv.Itoa(page)}}
		if after != "" {
			q.Set("after", after)
		}
		if err := c.call(ctx, "GET", "/devices", q, nil, nil, &out); err != nil {
			return err
		}
		for _, d := range out.Devices {
			if err := visit(d); err != nil {
				return err
			}
		}
		seen += len(out.Devices)
		if out.Next == "" || out.Next == after || limit > 0 && seen >= limit {
			return nil
		}
		after = out.Next
	}
}

func devicePath(id string) string { return "/devices/" + url.PathEscape(id) }

func addModuleFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("module", "", "this module of the device, not the device itself")
}

// modulePath goes behind the path of a device or twin; "" is the device itself.
func modulePath(module string) string {
	if module == "" {
		return ""
	}
	return "/modules/" + url.PathEscape(module)
}

// printModules lists the modules of a device.
func (f *adminFlags) printModules(ctx context.Context, c *adminClient, device string) error {
	var out struct{ Modules []json.RawMessage }
	if err := c.call(ctx, "GET", devicePath(device)+"/modules", nil, nil, nil, &out); err != nil {
		return err
	}
	if f.json {
		return f.printJSON(out.Modules)
	}
	w := tabwriter.NewWriter(f.app.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tMODULE\tMANAGED BY\tCONNECTION\tAUTHENTICATION\tLAST ACTIVITY")
	for _, raw := range out.Modules {
		var m deviceSummary
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("read module of %s: %w", device, err)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.DeviceID, m.ModuleID, m.ManagedBy, m.ConnectionState, m.Authentication.Type, m.LastActivityTime)
	}
	return w.Flush()
}

func createOnly() http.Header { return http.Header{"If-None-Match": {"*"}} }

// shellQuote makes a text one word of a POSIX shell.
func shellQuote(s string) string {
	plain := s != ""
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' || r == '/' || r == ':' || r == ',') {
			plain = false
		}
	}
	if plain {
		return s
	}
	quoted := []byte{'\''}
	for i := range len(s) {
		if s[i] == '\'' {
			quoted = append(quoted, `'\''`...)
		} else {
			quoted = append(quoted, s[i])
		}
	}
	return string(append(quoted, '\''))
}
