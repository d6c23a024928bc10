package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gemello/gemello/bench/devices"
	"github.com/gemello/gemello/device/credential"
)

// simulatePolicy may create devices and connect them.
const simulatePolicy = "iothubowner"

func newSimulateCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Send telemetry and answer methods as simulated devices, over MQTT and TLS",
		Long:  "Send telemetry as simulated devices until interrupted. They answer every direct method with its own payload.\n\nWithout --hub the node is found like every command finds it and the devices are created in it.",
		Args:  cobra.NoArgs,
	}
	f := addAdminFlags(a, cmd)
	o := devices.Options{}
	var hub string
	var duration time.Duration
	fs := cmd.Flags()
	fs.IntVar(&o.Devices, "devices", 10, "number of devices")
	fs.Float64Var(&o.Rate, "rate", 10, "messages a second of all devices together")
	fs.StringVar(&o.Prefix, "prefix", "sim", "what device ids begin with")
	fs.StringVar(&hub, "hub", "", "connection string of a policy, or of the device with --devices 1")
	fs.StringVar(&o.MQTT, "mqtt", "", "host:port of MQTT over TLS, in place of the hub's host name and 8883")
	fs.StringVar(&o.HTTPS, "https", "", "host:port of the service REST, in place of the hub's host name and 443")
	fs.DurationVar(&duration, "duration", 0, "stop after this long; 0: when interrupted")
	fs.DurationVar(&o.ReportEvery, "report", 5*time.Second, "how often figures are printed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		if duration > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, duration)
			defer cancel()
		}
		if err := f.simulateTarget(ctx, hub, &o); err != nil {
			return err
		}
		o.Report = func(s devices.Stats) { printStats(a.stdout, f.json, o.Devices, s) }
		last, err := devices.Run(ctx, o)
		if errors.Is(err, devices.ErrOptions) {
			return usagef("%v", err)
		}
		if errors.Is(err, devices.ErrUnauthorized) {
			return fmt.Errorf("%w; check that the device exists and is enabled and that the key is its own", err)
		}
		if err != nil {
			return err
		}
		printStats(a.stdout, f.json, o.Devices, last)
		return nil
	}
	return cmd
}

// simulateTarget says whom to connect to: the node that run.json or --admin
// names, or the hub of a connection string. A node on this machine lends its
// ports and its CA to a connection string that names one of its host names.
func (f *adminFlags) simulateTarget(ctx context.Context, hub string, o *devices.Options) error {
	ca := f.ca
	var run *runInfo
	if hub == "" {
		c, err := f.client()
		if err != nil {
			return err
		}
		defer c.Close()
		if hub, err = c.connectionString(ctx, simulatePolicy, "", ""); err != nil {
			return err
		}
		run = c.run
	} else if r, err := readRunInfo(f.data); err == nil {
		run = r
	}
	cs, err := credential.ParseConnectionString(hub)
	if err != nil {
		return usagef("simulate: --hub: %v; copy it from: gemello connection-string --policy %s", err, simulatePolicy)
	}
	o.Connection = cs
	if run != nil && slices.Contains(run.Hostnames, cs.HostName) {
		lendPorts(run, o)
		if ca == "" {
			ca = run.CA
		}
	}
	var tlsConfig *tls.Config
	if tlsConfig, err = clientTLS(ca); err != nil {
		return err
	}
	o.TLS = tlsConfig
	return nil
}

// lendPorts takes the addresses of a node on this machine where none is given.
func lendPorts(run *runInfo, o *devices.Options) {
	for _, p := range []struct {
		name string
		addr *string
	}{{"mqtts", &o.MQTT}, {"https", &o.HTTPS}} {
		if addrs := run.Listen[p.name]; *p.addr == "" && len(addrs) > 0 {
			*p.addr = reachable(addrs[0])
		}
	}
}

// reachable turns a listen address into one to dial.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

func printStats(w io.Writer, asJSON bool, total int, s devices.Stats) {
	if asJSON {
		fmt.Fprintf(w, `{"seconds":%.1f,"devices":%d,"connected":%d,"acked":%d,"rate":%.1f,"failed":%d,"behind":%d,"reconnects":%d,"methods":%d}`+"\n",
			s.Elapsed.Seconds(), total, s.Connected, s.Acked, s.Rate(), s.Failed, s.Behind, s.Reconnect, s.Methods)
		return
	}
	parts := []string{
		fmt.Sprintf("%6.1fs", s.Elapsed.Seconds()),
		fmt.Sprintf("%d/%d connected", s.Connected, total),
		fmt.Sprintf("%d acknowledged (%.1f/s)", s.Acked, s.Rate()),
	}
	for _, p := range []struct {
		n    int64
		what string
	}{{s.Failed, "failed"}, {s.Behind, "behind"}, {s.Reconnect, "reconnects"}, {s.Methods, "methods answered"}} {
		if p.n > 0 {
			parts = append(parts, strconv.FormatInt(p.n, 10)+" "+p.what)
		}
	}
	fmt.Fprintln(w, strings.Join(parts, "  "))
}
