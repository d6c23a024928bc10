package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/broker/access"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func handshake(w *wire, mechanism string) *kmsg.SASLHandshakeResponse {
	w.t.Helper()
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = mechanism
	return ask[*kmsg.SASLHandshakeResponse](w, req, 1)
}

func authenticate(w *wire, message []byte) *kmsg.SASLAuthenticateResponse {
	w.t.Helper()
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.SASLAuthBytes = message
	return ask[*kmsg.SASLAuthenticateResponse](w, req, 2)
}

// login says all that a client says and returns the last response.
func login256(t *testing.T, w *wire, user, password string) *kmsg.SASLAuthenticateResponse {
	t.Helper()
	if h := handshake(w, access.ScramSHA256); h.ErrorCode != 0 {
		t.Fatalf("handshake: %v", kerr.ErrorForCode(h.ErrorCode))
	}
	return finish(t, w, as256(user, password))
}

func finish(t *testing.T, w *wire, m sasl.Mechanism) *kmsg.SASLAuthenticateResponse {
	t.Helper()
	session, message, err := m.Authenticate(bounded(t), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for {
		resp := authenticate(w, message)
		if resp.ErrorCode != 0 {
			return resp
		}
		done, next, err := session.Challenge(resp.SASLAuthBytes)
		if err != nil {
			t.Fatal(err)
		}
		if done {
			return resp
		}
		message = next
	}
}

func topicsShown(w *wire) int {
	w.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	return len(ask[*kmsg.MetadataResponse](w, req, 9).Topics)
}

func TestUnauthenticatedConnectionsMayOnlyAuthenticate(t *testing.T) {
	s := start(t, Options{Users: []User{{"ana", "first"}}})
	for key := range s.table {
		switch kmsg.Key(key) {
		case kmsg.ApiVersions, kmsg.SASLHandshake, kmsg.SASLAuthenticate:
			continue
		}
		w := dial(t, s)
		req := kmsg.RequestForKey(key)
		req.SetVersion(s.table[key].max)
		w.send(req)
		if n := w.ended(); n != 0 {
			t.Errorf("%s was answered with %d bytes", kmsg.NameForKey(key), n)
		}
	}
	w := dial(t, s)
	ask[*kmsg.ApiVersionsResponse](w, kmsg.NewPtrApiVersionsRequest(), 0)
	if resp := login256(t, w, "ana", "first"); resp.ErrorCode != 0 {
		t.Fatalf("%v", kerr.ErrorForCode(resp.ErrorCode))
	}
	topicsShown(w)
}

func TestHandshakeTellsTheMechanisms(t *testing.T) {
	s := start(t, Options{Users: []User{{"ana", "first"}}})
	w := dial(t, s)
	resp := handshake(w, "PLAIN")
	if resp.ErrorCode != kerr.UnsupportedSaslMechanism.Code || len(resp.SupportedMechanisms) != 2 {
		t.Errorf("%+v", resp)
	}
	// Messages that are no requests are not taken.
	old := kmsg.NewPtrSASLHandshakeRequest()
	old.Mechanism = access.ScramSHA256
	if resp := ask[*kmsg.SASLHandshakeResponse](w, old, 0); resp.ErrorCode != kerr.UnsupportedVersion.Code {
		t.Errorf("version 0: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	// The client may choose another.
	if resp := login256(t, w, "ana", "first"); resp.ErrorCode != 0 {
		t.Errorf("%v", kerr.ErrorForCode(resp.ErrorCode))
	}
}

func TestAuthenticateBeforeHandshakeIsOutOfPlace(t *testing.T) {
	s := start(t, Options{})
	w := dial(t, s)
	if resp := authenticate(w, []byte("n,,n=ana,r=x")); resp.ErrorCode != kerr.IllegalSaslState.Code {
		t.Errorf("%v", kerr.ErrorForCode(resp.ErrorCode))
	}
	topicsShown(w)
}

func TestFailedLoginEndsTheConnectionAndTellsWhy(t *testing.T) {
	s := start(t, Options{Users: []User{{"ana", "first"}}})
	var texts []string
	for _, c := range []struct{ user, password string }{{"ana", "guess"}, {"eve", "first"}} {
		w := dial(t, s)
		resp := login256(t, w, c.user, c.password)
		if resp.ErrorCode != kerr.SaslAuthenticationFailed.Code || resp.ErrorMessage == nil {
			t.Fatalf("%s: %+v", c.user, resp)
		}
		texts = append(texts, *resp.ErrorMessage)
		w.ended()
	}
	if texts[0] != texts[1] || !strings.Contains(texts[0], "password") {
		t.Errorf("told %q", texts)
	}
	w := dial(t, s)
	handshake(w, access.ScramSHA256)
	resp := authenticate(w, []byte("\x00ana\x00first"))
	if resp.ErrorCode != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("PLAIN's message: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	w.ended()
}

func TestWrongGuessesWait(t *testing.T) {
	s := start(t, Options{Users: []User{{"ana", "first"}}})
	begin := time.Now()
	for range 3 {
		login256(t, dial(t, s), "ana", "guess")
	}
	if d := time.Since(begin); d < 700*time.Millisecond {
		t.Errorf("three wrong guesses took %v", d)
	}
	begin = time.Now()
	if resp := login256(t, dial(t, s), "ana", "first"); resp.ErrorCode != 0 || time.Since(begin) > 750*time.Millisecond {
		t.Errorf("the right one took %v: %v", time.Since(begin), kerr.ErrorForCode(resp.ErrorCode))
	}
}

// KIP-368.
func TestReauthenticationIsOfTheSameUser(t *testing.T) {
	s := start(t, Options{Users: []User{{"ana", "first"}, {"bob", "second"}}})
	w := dial(t, s)
	for range 2 {
		if resp := login256(t, w, "ana", "first"); resp.ErrorCode != 0 {
			t.Fatalf("%v", kerr.ErrorForCode(resp.ErrorCode))
		}
		topicsShown(w)
	}
	if resp := login256(t, w, "bob", "second"); resp.ErrorCode != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("another user: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	w.ended()

	w = dial(t, s)
	login256(t, w, "ana", "first")
	handshake(w, access.ScramSHA512)
	if resp := finish(t, w, scram.Auth{User: "ana", Pass: "first"}.AsSha512Mechanism()); resp.ErrorCode != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("another mechanism: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	w.ended()
}

func TestAnonymousConnectionBecomesTheNodes(t *testing.T) {
	s := start(t, Options{Private: []string{"secret"}})
	w := dial(t, s)
	node := dial(t, s)
	if resp := login256(t, node, nodeUser, s.password); resp.ErrorCode != 0 {
		t.Fatalf("%v", kerr.ErrorForCode(resp.ErrorCode))
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "secret", 1, 1
	req.Topics = append(req.Topics, rt)
	if got := ask[*kmsg.CreateTopicsResponse](node, req, 7).Topics[0]; got.ErrorCode != 0 {
		t.Fatalf("%v", kerr.ErrorForCode(got.ErrorCode))
	}
	if n := topicsShown(w); n != 0 {
		t.Errorf("%d topics shown", n)
	}
	login256(t, w, nodeUser, s.password)
	if n := topicsShown(w); n != 1 {
		t.Errorf("%d topics shown to the node", n)
	}
}
