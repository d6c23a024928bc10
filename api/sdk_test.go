package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// sdkHub serves the service handler as the SDKs insist on it, with TLS on port
// 443, and returns a connection string and the file of the CA.
func sdkHub(t *testing.T, host string) (connectionString, caFile string) {
	t.Helper()
	l, err := net.Listen("tcp", host+":443")
	if err != nil {
		t.Fatal(err)
	}
	cert, caFile := serverCertificate(t, host)
	b := newBench(t)
	service, err := NewService(ServiceOptions{Hub: b.hub, Policies: b.policies, Sealer: testSealer(t), Hostnames: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: service, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ServeTLS(l, "", "") // ends with Close
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	p := b.policies["iothubowner"]
	cs := credential.ConnectionString{HostName: host, KeyName: p.Name, Key: p.Keys.Primary}
	return cs.Reveal(), caFile
}

func runSDK(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestNodeRegistry runs Azure's unmodified service SDK for Node. It needs node,
// the folder node_modules with azure-iothub in GEMELLO_NODE_SDK, and the right to
// listen on port 443.
func TestNodeRegistry(t *testing.T) {
	modules := os.Getenv("GEMELLO_NODE_SDK")
	if modules == "" {
		t.Skip("GEMELLO_NODE_SDK is not set to a node_modules folder with azure-iothub")
	}
	cs, ca := sdkHub(t, "127.0.0.21")
	runSDK(t, []string{"NODE_PATH=" + modules, "NODE_EXTRA_CA_CERTS=" + ca}, "node", "testdata/registry.js", cs)
}

// TestPythonRegistry does the same with the SDK for Python, in the interpreter
// that GEMELLO_PYTHON_SDK names.
func TestPythonRegistry(t *testing.T) {
	python := os.Getenv("GEMELLO_PYTHON_SDK")
	if python == "" {
		t.Skip("GEMELLO_PYTHON_SDK is not set to a python with azure-iot-hub")
	}
	cs, ca := sdkHub(t, "127.0.0.21")
	runSDK(t, []string{"REQUESTS_CA_BUNDLE=" + ca}, python, "testdata/registry.py", cs)
}

func serverCertificate(t *testing.T, host string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
