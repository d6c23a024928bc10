package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func newCommandCmd(a *app) *cobra.Command {
	return commandGroup("command", "Send cloud-to-device messages and look after their queues",
		newCommandSendCmd(a), newCommandListCmd(a), newCommandPurgeCmd(a))
}

func commandsPath(id, module string) string { return devicePath(id) + modulePath(module) + "/commands" }

// newCommand is the request that sends a command.
type newCommand struct {
	Body       string            `json:"body,omitempty"`
	BodyBase64 string            `json:"bodyBase64,omitempty"`
	MessageID  string            `json:"messageId,omitempty"`
	Ack        string            `json:"ack,omitempty"`
	Expiry     *time.Time        `json:"expiry,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

func newCommandSendCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "send ID",
		Short:   "Queue a cloud-to-device message for a device",
		Example: `  gemello command send d1 --body '{"led":"on"}' --property k=v --ack full --expiry 10m`,
		Args:    cobra.ExactArgs(1),
	}
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	body := cmd.Flags().String("body", "", "the message's body")
	file := cmd.Flags().String("file", "", "file that holds the body")
	props := cmd.Flags().StringArray("property", nil, "application property, as NAME=VALUE; may be given more than once")
	ack := cmd.Flags().String("ack", "", "feedback to ask for: none, positive, negative or full")
	expiry := cmd.Flags().Duration("expiry", 0, "how long the message may wait; 0: commands.ttl of the hub")
	module := addModuleFlag(cmd)
	messageID := cmd.Flags().String("message-id", "", "message id, which feedback repeats")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		content := []byte(*body)
		if *file != "" {
			if *body != "" {
				return usagef("command send: --body and --file exclude each other")
			}
			var err error
			if content, err = readSmallFile(*file); err != nil {
				return usagef("command send: --file: %v", err)
			}
		}
		in := newCommand{MessageID: *messageID, Ack: *ack}
		if utf8.Valid(content) {
			in.Body = string(content)
		} else {
			in.BodyBase64 = base64.StdEncoding.EncodeToString(content)
		}
		if *expiry < 0 {
			return usagef("command send: --expiry: %s is not allowed; allowed: 0 or more", *expiry)
		} else if *expiry > 0 {
			at := time.Now().Add(*expiry)
			in.Expiry = &at
		}
		for _, p := range *props {
			name, value, ok := strings.Cut(p, "=")
			if !ok || name == "" {
				return usagef("command send: --property: %s is not allowed; allowed: NAME=VALUE", quoteValue(p))
			}
			if in.Properties == nil {
				in.Properties = map[string]string{}
			}
			in.Properties[name] = value
		}
		request, err := json.Marshal(in)
		if err != nil {
			return err
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var sent struct {
				Sequence int64 `json:"sequenceNumber"`
			}
			if err := c.call(ctx, "POST", commandsPath(args[0], *module), nil, nil, json.RawMessage(request), &sent); err != nil {
				return err
			}
			if f.json {
				return f.printJSON(sent)
			}
			_, err := fmt.Fprintf(a.stdout, "queued for %s with sequence number %d\n", args[0], sent.Sequence)
			return err
		})
	}
	return cmd
}

func newCommandListCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list ID", Short: "Print what is queued for a device as JSON", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	module := addModuleFlag(cmd)
	f.addPositionFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var list json.RawMessage
			if err := c.call(ctx, "GET", commandsPath(args[0], *module), nil, nil, nil, &list); err != nil {
				return err
			}
			return f.printRaw(list)
		})
	}
	return cmd
}

func newCommandPurgeCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "purge ID", Short: "End all messages that are queued for a device", Args: cobra.ExactArgs(1)}
	f := addAdminFlags(a, cmd)
	module := addModuleFlag(cmd)
	f.addPositionFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			var answer json.RawMessage
			if err := c.call(ctx, "DELETE", commandsPath(args[0], *module), nil, nil, nil, &answer); err != nil {
				return err
			}
			return f.printRaw(answer)
		})
	}
	return cmd
}
