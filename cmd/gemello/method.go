package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newMethodCmd(a *app) *cobra.Command {
	return commandGroup("method", "Call direct methods of devices", newMethodInvokeCmd(a))
}

// methodAnswer is what a device answered.
type methodAnswer struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// errMethodStatus is the end of a call that the device itself says has failed.
var errMethodStatus = errors.New("the device answered with an error")

func newMethodInvokeCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoke ID NAME",
		Short: "Have a device or module run a method and print its answer",
		Long: "Have a device or module run a method and print the payload of its answer.\n\n" +
			"Exit code 0: the device answered with a status below 400; 1: with another, or it did not answer.\n" +
			"With --json status and payload are printed whatever the status is.",
		Example: `  gemello method invoke d1 reboot --payload '{"delay":5}' --connect-timeout 30s`,
		Args:    cobra.ExactArgs(2),
	}
	f := addAdminFlags(a, cmd)
	f.addPositionFlags(cmd)
	payload := cmd.Flags().String("payload", "null", "JSON for the device, @FILE or - for standard input")
	timeout := cmd.Flags().Duration("timeout", 30*time.Second, "how long to wait for the answer, 5s to 5m")
	module := addModuleFlag(cmd)
	connect := cmd.Flags().Duration("connect-timeout", 0, "how long to wait for the device to come online, up to 5m")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := methodBody(a.stdin, args[1], *payload, *timeout, *connect)
		if err != nil {
			return err
		}
		return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
			answer, err := c.invokeMethod(ctx, twinPath(args[0])+modulePath(*module), body, *timeout+*connect)
			if err != nil {
				return err
			}
			if f.json {
				err = f.printJSON(answer)
			} else {
				err = f.printRaw(answer.Payload)
			}
			if err == nil && answer.Status >= 400 {
				err = fmt.Errorf("%w: status %d", errMethodStatus, answer.Status)
			}
			return err
		})
	}
	return cmd
}

// methodBody is the request of a call; time-outs are in whole seconds.
func methodBody(stdin io.Reader, name, payload string, timeout, connect time.Duration) ([]byte, error) {
	raw := []byte(payload)
	var err error
	switch file, isFile := strings.CutPrefix(payload, "@"); {
	case isFile:
		raw, err = readSmallFile(file)
	case payload == "-":
		raw, err = io.ReadAll(io.LimitReader(stdin, maxConfigBytes))
	}
	if err != nil {
		return nil, usagef("method invoke: --payload: %v", err)
	}
	if !json.Valid(raw) {
		return nil, usagef("method invoke: --payload: %s is not allowed; allowed: JSON, @FILE or - for standard input", quoteValue(payload))
	}
	for _, t := range []struct {
		flag        string
		value       time.Duration
		least, most time.Duration
	}{{"timeout", timeout, 5 * time.Second, 5 * time.Minute}, {"connect-timeout", connect, 0, 5 * time.Minute}} {
		if t.value < t.least || t.value > t.most || t.value%time.Second != 0 {
			return nil, usagef("method invoke: --%s: %s is not allowed; allowed: whole seconds from %s to %s", t.flag, t.value, t.least, t.most)
		}
	}
	return json.Marshal(struct {
		Name     string          `json:"methodName"`
		Payload  json.RawMessage `json:"payload"`
		Response int             `json:"responseTimeoutInSeconds"`
		Connect  int             `json:"connectTimeoutInSeconds"`
	}{name, raw, int(timeout / time.Second), int(connect / time.Second)})
}

// invokeMethod waits longer than other calls do: as long as the device may take.
func (c *adminClient) invokeMethod(ctx context.Context, twin string, body []byte, limit time.Duration) (methodAnswer, error) {
	var answer methodAnswer
	limit += adminTimeout
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t.ResponseHeaderTimeout = limit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := c.request(ctx, http.MethodPost, twin+"/methods", nil, nil, body)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAdminBytes)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("read the answer of %s: %w", twin, err)
	}
	return answer, nil
}
