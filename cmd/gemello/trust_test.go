package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTrustNamesEverySDKAndSystemWithTheRealPath(t *testing.T) {
	ca := writeTemp(t, "ca.pem", "x")
	code, stdout, stderr := shell{}.run(t, "trust", "--ca", ca)
	if code != exitDone {
		t.Fatal(stderr)
	}
	for _, part := range []string{
		"NODE_EXTRA_CA_CERTS=" + ca, "ca: require('fs')", "server_verification_cert", "SSL_CERT_FILE=" + ca, "certifi",
		"keytool -importcert", "a dot", "update-ca-certificates", "update-ca-trust", "security add-trusted-cert",
		"certutil -addstore", "Firmware", "mosquitto",
	} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in\n%s", part, stdout)
		}
	}
}

func TestTrustAsJSONAndByRunFile(t *testing.T) {
	ca := writeTemp(t, "ca.pem", "x")
	dir := t.TempDir()
	if err := (&dataDir{path: dir}).writeRunInfo(&runInfo{CA: ca, Hostnames: []string{"h"}}); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := shell{}.run(t, "trust", "--json", "--data", dir)
	var out struct {
		CA        string
		Hostnames []string
		Steps     []trustStep
	}
	if err := json.Unmarshal([]byte(stdout), &out); err != nil || code != exitDone || out.CA != ca || len(out.Hostnames) != 1 || len(out.Steps) < 10 {
		t.Errorf("code %d, stderr %q, %v, %+v", code, stderr, err, out)
	}
	if err := (&dataDir{path: dir}).writeRunInfo(&runInfo{}); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := (shell{}).run(t, "trust", "--data", dir); code != exitDone || !strings.Contains(stdout, "publicly trusted") {
		t.Errorf("code %d, stdout %q", code, stdout)
	}
}
