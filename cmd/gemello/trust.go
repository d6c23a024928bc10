package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newTrustCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Print what makes SDKs and operating systems trust this hub's CA",
		Args:  cobra.NoArgs,
	}
	f := addAdminFlags(a, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		ca, hosts := f.ca, []string(nil)
		if ca == "" {
			r, err := readRunInfo(f.data)
			if err != nil {
				return err
			}
			ca, hosts = r.CA, r.Hostnames
		}
		if ca == "" {
			if f.json {
				return f.printJSON(map[string]any{"ca": nil, "hostnames": hosts})
			}
			_, err := fmt.Fprintln(a.stdout, "This hub shows a certificate that is given with tls.cert, without tls.ca: clients need nothing if it is publicly trusted.")
			return err
		}
		ca = absolute(ca)
		if _, err := os.Stat(ca); err != nil {
			return usagef("--ca: %v; name the CA's PEM file", err)
		}
		steps := trustSteps(ca)
		if f.json {
			return f.printJSON(map[string]any{"ca": ca, "hostnames": hosts, "steps": steps})
		}
		return printTrust(a.stdout, ca, steps)
	}
	return cmd
}

// trustStep is what to do for one kind of client.
type trustStep struct {
	For   string   `json:"for"`
	Lines []string `json:"lines"`
}

// trustSteps lists what each SDK and system needs; ca is an absolute path.
func trustSteps(ca string) []trustStep {
	q := shellQuote(ca)
	name := "gemello-ca"
	return []trustStep{
		{"Node.js (azure-iot-device, azure-iothub)", []string{
			"export NODE_EXTRA_CA_CERTS=" + q,
			"or for devices: client.setOptions({ ca: require('fs').readFileSync('" + ca + "', 'utf8') })",
		}},
		{"Python (azure-iot-device)", []string{
			"IoTHubDeviceClient.create_from_connection_string(cs, server_verification_cert=open('" + ca + "').read())",
		}},
		{"Python (azure-iot-hub and others)", []string{
			"for requests and ssl: export SSL_CERT_FILE=" + q + " REQUESTS_CA_BUNDLE=" + q,
			"for libraries that trust certifi alone: cat " + q + ` >> "$(python3 -m certifi)"`,
		}},
		{"Java", []string{
			`keytool -importcert -noprompt -alias ` + name + ` -file ` + q + ` -keystore "$JAVA_HOME/lib/security/cacerts" -storepass changeit`,
			"the host name needs a dot: use 127.0.0.1 or a full name, not localhost",
		}},
		{"C# and .NET", []string{
			"they use the system's store: see Debian, RHEL, macOS or Windows below",
			"on Linux also: export SSL_CERT_FILE=" + q,
		}},
		{"C (azure-iot-sdk-c, mbedTLS and others)", []string{
			"IoTHubDeviceClient_SetOption(client, OPTION_TRUSTED_CERT, pem)   with the text of the file",
		}},
		{"Go, curl, openssl, mosquitto", []string{
			"export SSL_CERT_FILE=" + q,
			"curl --cacert " + q + " …    openssl s_client -CAfile " + q + " …    mosquitto_pub --cafile " + q + " …",
		}},
		{"Debian, Ubuntu", []string{
			"sudo cp " + q + " /usr/local/share/ca-certificates/" + name + ".crt && sudo update-ca-certificates",
		}},
		{"RHEL, Fedora", []string{
			"sudo cp " + q + " /etc/pki/ca-trust/source/anchors/" + name + ".pem && sudo update-ca-trust",
		}},
		{"macOS", []string{
			"sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain " + q,
		}},
		{"Windows", []string{
			`certutil -addstore -f Root "` + filepath.Clean(ca) + `"   as administrator`,
		}},
		{"Firmware with built-in public roots", []string{
			"it can't be told of another CA: give the hub a host name of your own and a certificate",
			"from one of these roots (tls.cert and tls.key)",
		}},
	}
}

func printTrust(w io.Writer, ca string, steps []trustStep) error {
	if _, err := fmt.Fprintf(w, "The CA of this hub: %s\nIt can sign for the hub's own names and loopback only.\n", ca); err != nil {
		return err
	}
	for _, s := range steps {
		if _, err := fmt.Fprintf(w, "\n%s\n", s.For); err != nil {
			return err
		}
		for _, l := range s.Lines {
			if _, err := fmt.Fprintf(w, "  %s\n", l); err != nil {
				return err
			}
		}
	}
	return nil
}

// absolute leaves "" as it is.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); path != "" && err == nil {
		return abs
	}
	return path
}

func dirOf(file string) string { return filepath.Dir(file) }
