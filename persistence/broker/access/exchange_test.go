package access

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// The exchange of RFC 7677 section 3, message by message. Its server nonce has
// characters that ours never has, so it is put in by hand.
func TestExchangeRFC7677(t *testing.T) {
	salt := "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81"
	v, err := NewVerifier(ScramSHA256, "pencil", []byte(salt), 4096)
	if err != nil {
		t.Fatal(err)
	}
	u := users(t)
	u.known["user"] = user{Principal{Name: "user"}, map[string]Verifier{ScramSHA256: v}}
	e, err := u.Begin(ScramSHA256, &entropy{})
	if err != nil {
		t.Fatal(err)
	}
	answer, _, err := e.Step([]byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
	if err != nil || !strings.HasSuffix(string(answer), ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096") {
		t.Fatalf("server-first %q, %v", answer, err)
	}
	const nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	e.auth = strings.Replace(e.auth, e.nonce, nonce, 1)
	e.nonce = nonce
	answer, done, err := e.Step([]byte("c=biws,r=" + nonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	if err != nil || !done || string(answer) != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("server-final %q, %v, %v", answer, done, err)
	}
}

func TestExchangeLetsInWhoKnowsThePassword(t *testing.T) {
	u := users(t, Login{Name: "ana", Password: "first"}, Login{Name: "a=b,c", Password: "pass,word=ü", Super: true})
	for name, c := range map[string]struct {
		client
		ok bool
	}{
		"256":              {client{ScramSHA256, "n,,", "ana", "first", "abc"}, true},
		"512":              {client{ScramSHA512, "n,,", "ana", "first", "abc"}, true},
		"escaped name":     {client{ScramSHA512, "n,,", "a=b,c", "pass,word=ü", "abc"}, true},
		"could bind":       {client{ScramSHA256, "y,,", "ana", "first", "abc"}, true},
		"as itself":        {client{ScramSHA256, "n,a=ana,", "ana", "first", "abc"}, true},
		"wrong password":   {client{ScramSHA256, "n,,", "ana", "First", "abc"}, false},
		"nobody's name":    {client{ScramSHA256, "n,,", "bob", "first", "abc"}, false},
		"another's":        {client{ScramSHA256, "n,,", "a=b,c", "first", "abc"}, false},
		"no password":      {client{ScramSHA256, "n,,", "ana", "", "abc"}, false},
		"nobody, no word ": {client{ScramSHA512, "n,,", "bob", "", "abc"}, false},
	} {
		e, err := u.Begin(c.mechanism, &entropy{})
		if err != nil {
			t.Fatal(err)
		}
		answer, done, err := e.Step([]byte(c.first()))
		if err != nil || done {
			t.Fatalf("%s: first: %v, %v", name, done, err)
		}
		message, signature := c.final(t, string(answer))
		answer, done, err = e.Step([]byte(message))
		if c.ok {
			if err != nil || !done || string(answer) != signature || e.Principal().Name != c.name || e.Principal().Super != (c.name == "a=b,c") {
				t.Errorf("%s: %q, %v, %v, %v", name, answer, done, err, e.Principal())
			}
		} else if !errors.Is(err, ErrCredentials) || done || string(answer) != "e=invalid-proof" || e.Principal() != (Principal{}) {
			t.Errorf("%s: %q, %v, %v, %v", name, answer, done, err, e.Principal())
		}
		if _, _, err := e.Step([]byte(message)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: a message after the end: %v", name, err)
		}
	}
}

func TestUnknownUserLooksLikeAKnownOne(t *testing.T) {
	u := users(t, Login{Name: "ana", Password: "first"})
	saltAndCount := func(name string) string {
		e, err := u.Begin(ScramSHA256, &entropy{})
		if err != nil {
			t.Fatal(err)
		}
		answer, _, err := e.Step([]byte("n,,n=" + name + ",r=x"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(answer), ",")
		return rest
	}
	known, unknown := saltAndCount("ana"), saltAndCount("bob")
	if len(known) != len(unknown) || known[len(known)-7:] != unknown[len(unknown)-7:] {
		t.Errorf("%q and %q tell who is known", known, unknown)
	}
	if saltAndCount("bob") != unknown {
		t.Error("the salt of an unknown user changes from try to try")
	}
	if saltAndCount("bot") == unknown {
		t.Error("unknown users share a salt")
	}
	other, err := NewUsers(nil, 0, &entropy{next: 99})
	if err != nil {
		t.Fatal(err)
	}
	_, a, _ := u.find(ScramSHA256, "bob")
	_, b, _ := other.find(ScramSHA256, "bob")
	if string(a.Salt) == string(b.Salt) {
		t.Error("the salt of an unknown user can be computed without the server's secret")
	}
}

func TestExchangeRefusesWhatIsNotSCRAM(t *testing.T) {
	u := users(t, Login{Name: "ana", Password: "first"})
	for name, c := range map[string]struct {
		message string
		want    error
	}{
		"empty":                    {"", ErrMessage},
		"channel binding asked":    {"p=tls-unique,,n=ana,r=x", ErrChannelBinding},
		"unknown flag":             {"q,,n=ana,r=x", ErrMessage},
		"no header":                {"n=ana,r=x", ErrMessage},
		"mandatory extension":      {"n,,m=x,n=ana,r=x", ErrMessage},
		"no nonce":                 {"n,,n=ana", ErrMessage},
		"empty nonce":              {"n,,n=ana,r=", ErrMessage},
		"nonce of control bytes":   {"n,,n=ana,r=a\x00", ErrMessage},
		"empty name":               {"n,,n=,r=x", ErrMessage},
		"bad escape":               {"n,,n=a=2D,r=x", ErrMessage},
		"another's authorization":  {"n,a=bob,n=ana,r=x", ErrMessage},
		"header that is no authz":  {"n,b=ana,n=ana,r=x", ErrMessage},
		"delegation token":         {"n,,n=ana,r=x,tokenauth=true", ErrMessage},
		"absurdly long":            {"n,,n=" + strings.Repeat("a", 1<<20) + ",r=x", ErrMessage},
		"PLAIN's message":          {"\x00ana\x00first", ErrMessage},
		"client-final before time": {"c=biws,r=x,p=AAAA", ErrMessage},
	} {
		e, err := u.Begin(ScramSHA256, &entropy{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.Step([]byte(c.message)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := e.Step([]byte("n,,n=ana,r=x")); err == nil {
			t.Errorf("%s: went on after it", name)
		}
	}
	if _, err := u.Begin("SCRAM-SHA-256-PLUS", &entropy{}); !errors.Is(err, ErrMechanism) {
		t.Errorf("-PLUS: %v", err)
	}
}

func TestExchangeBindsTheProofToTheConversation(t *testing.T) {
	u := users(t, Login{Name: "ana", Password: "first"})
	c := client{ScramSHA256, "n,,", "ana", "first", "abc"}
	for name, change := range map[string]func(string) string{
		"header of another flag": func(s string) string { return strings.Replace(s, "c=biws", "c=eSws", 1) },
		"another nonce":          func(s string) string { return strings.Replace(s, "r=abc", "r=abd", 1) },
		"client's nonce alone": func(s string) string {
			return s[:strings.Index(s, "r=abc")+len("r=abc")] + s[strings.Index(s, ",p="):]
		},
		"proof cut short":     func(s string) string { return s[:len(s)-8] },
		"proof not base64":    func(s string) string { return s[:len(s)-4] + "!!!!" },
		"no proof":            func(s string) string { return s[:strings.Index(s, ",p=")] },
		"empty proof":         func(s string) string { return s[:strings.Index(s, ",p=")+3] },
		"extension put in":    func(s string) string { return strings.Replace(s, ",p=", ",x=y,p=", 1) },
		"first message again": func(string) string { return c.first() },
	} {
		e, err := u.Begin(c.mechanism, &entropy{})
		if err != nil {
			t.Fatal(err)
		}
		answer, _, err := e.Step([]byte(c.first()))
		if err != nil {
			t.Fatal(err)
		}
		message, _ := c.final(t, string(answer))
		if _, done, err := e.Step([]byte(change(message))); err == nil || done {
			t.Errorf("%s was taken", name)
		}
	}
	// The one other nonce that is taken, of old librdkafka, is covered by the
	// proof as well: without a proof for it, it is a wrong guess.
	old, err := u.Begin(c.mechanism, &entropy{})
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := old.Step([]byte(c.first()))
	if err != nil {
		t.Fatal(err)
	}
	final, _ := c.final(t, string(first))
	if _, _, err := old.Step([]byte(strings.Replace(final, "r=abc", "r=abcabc", 1))); !errors.Is(err, ErrCredentials) {
		t.Errorf("nonce of old librdkafka without its proof: %v", err)
	}
	// What was said in one login proves nothing in the next.
	e, _ := u.Begin(c.mechanism, &entropy{})
	answer, _, _ := e.Step([]byte(c.first()))
	message, _ := c.final(t, string(answer))
	again, _ := u.Begin(c.mechanism, &entropy{next: 50})
	if _, _, err := again.Step([]byte(c.first())); err != nil {
		t.Fatal(err)
	}
	if _, _, err := again.Step([]byte(message)); err == nil {
		t.Error("a recorded proof was taken again")
	}
}

func TestExchangeTakesTheNonceOfOldLibrdkafka(t *testing.T) {
	u := users(t, Login{Name: "ana", Password: "first"})
	c := client{ScramSHA512, "n,,", "ana", "first", "abc"}
	e, err := u.Begin(c.mechanism, &entropy{})
	if err != nil {
		t.Fatal(err)
	}
	answer, _, err := e.Step([]byte(c.first()))
	if err != nil {
		t.Fatal(err)
	}
	message := c.finalWith(t, string(answer), "abc")
	if _, done, err := e.Step([]byte(message)); !done || err != nil {
		t.Errorf("%v", err)
	}
}

func TestExchangeNeedsRandomness(t *testing.T) {
	u := users(t, Login{Name: "ana", Password: "first"})
	e, err := u.Begin(ScramSHA256, strings.NewReader("short"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Step([]byte("n,,n=ana,r=x")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	if _, err := NewUsers([]Login{{Name: "ana", Password: "first"}}, 0, strings.NewReader("")); err == nil {
		t.Error("salts without randomness")
	}
}

func FuzzExchange(f *testing.F) {
	f.Add("n,,n=ana,r=x", "c=biws,r=x,p=AAAA")
	f.Add("y,a=ana,n=ana,r=x,tokenauth=true", "c=,r=,p=")
	f.Add("p=tls-unique,,n=ana,r=x", "")
	f.Add("n,,n=a=2Cb=3D,r=x", ",,,p=====")
	u, err := NewUsers([]Login{{Name: "ana", Password: "first"}}, 0, &entropy{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, final string) {
		e, err := u.Begin(ScramSHA256, &entropy{})
		if err != nil {
			t.Fatal(err)
		}
		if _, done, _ := e.Step([]byte(first)); done {
			t.Fatal("let in without a proof")
		}
		if _, done, err := e.Step([]byte(final)); done || err == nil {
			t.Fatal("let in with a guessed proof")
		}
	})
}
