package access

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// ErrCredentials is of a login whose name or password is wrong; which of the
// two is not said.
var ErrCredentials = errors.New("name or password is wrong")

// ErrMessage is of a message that is not what SCRAM has at its place.
var ErrMessage = errors.New("not a SCRAM message")

// ErrChannelBinding is of a client that insists on channel binding.
var ErrChannelBinding = errors.New("channel binding is not offered; choose a mechanism without -PLUS")

// maxMessage bounds a message of a client in bytes. Names and nonces are far
// shorter.
const maxMessage = 8 << 10

const nonceBytes = 24

// Exchange is the server's side of one login: client-first, client-final and no
// more. It serves one connection and is not safe for concurrent use.
type Exchange struct {
	users     *Users
	mechanism string
	hash      func() hash.Hash
	random    io.Reader

	stage     int // messages of the client seen
	name      string
	binding   string // what client-final has to repeat in c=
	nonce     string // the client's, then ours
	client    string // the client's alone
	auth      string // AuthMessage so far: client-first-bare, server-first
	principal Principal
}

// Begin starts a login; the error is ErrMechanism. random should be
// crypto/rand.Reader.
func (u *Users) Begin(mechanism string, random io.Reader) (*Exchange, error) {
	h, err := hashOf(mechanism)
	if err != nil {
		return nil, err
	}
	return &Exchange{users: u, mechanism: mechanism, hash: h, random: random}, nil
}

// Mechanism is that of Begin.
func (e *Exchange) Mechanism() string { return e.mechanism }

// Name is what the client calls itself, true or not; empty before its first
// message.
func (e *Exchange) Name() string { return e.name }

// Principal is who logged in; it is valid once Step reported done.
func (e *Exchange) Principal() Principal { return e.principal }

// Step takes a message of the client and returns the answer. After done the
// client is logged in; after an error nothing more is taken. With ErrCredentials
// there is an answer too, which tells the client's library in SCRAM's own words.
func (e *Exchange) Step(message []byte) (answer []byte, done bool, err error) {
	stage := e.stage
	e.stage = 2 // until the message is found good
	if len(message) > maxMessage {
		return nil, false, fmt.Errorf("message of %d bytes, at most %d: %w", len(message), maxMessage, ErrMessage)
	}
	switch stage {
	case 0:
		answer, err = e.first(string(message))
		if err == nil {
			e.stage = 1
		}
		return answer, false, err
	case 1:
		answer, err = e.final(string(message))
		return answer, err == nil, err
	}
	return nil, false, fmt.Errorf("message after the end of the login: %w", ErrMessage)
}

// first reads gs2-header client-first-message-bare (RFC 5802 section 7):
// "n,,n=user,r=nonce".
func (e *Exchange) first(message string) ([]byte, error) {
	flag, rest, ok1 := strings.Cut(message, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("client-first has no GS2 header: %w", ErrMessage)
	}
	switch {
	case strings.HasPrefix(flag, "p="):
		return nil, ErrChannelBinding
	case flag != "n" && flag != "y":
		// "y" is a client that could bind the channel but was not offered to.
		return nil, fmt.Errorf("client-first begins with %.8q: %w", flag, ErrMessage)
	}
	e.binding = base64.StdEncoding.EncodeToString([]byte(message[:len(message)-len(bare)]))

	attributes := strings.Split(bare, ",")
	if strings.HasPrefix(bare, "m=") {
		return nil, fmt.Errorf("client-first asks for an extension that is not known: %w", ErrMessage)
	}
	if len(attributes) < 2 || !strings.HasPrefix(attributes[0], "n=") || !strings.HasPrefix(attributes[1], "r=") {
		return nil, fmt.Errorf("client-first is not n=name,r=nonce: %w", ErrMessage)
	}
	for _, extension := range attributes[2:] {
		if extension == "tokenauth=true" {
			return nil, fmt.Errorf("delegation tokens are not offered; log in with name and password: %w", ErrMessage)
		}
	}
	name, err := saslname(attributes[0][2:])
	if err != nil {
		return nil, err
	}
	nonce := attributes[1][2:]
	if !printable(nonce) {
		return nil, fmt.Errorf("client-first has no proper nonce: %w", ErrMessage)
	}
	if authzid != "" {
		as, ok := strings.CutPrefix(authzid, "a=")
		if !ok {
			return nil, fmt.Errorf("client-first has no proper GS2 header: %w", ErrMessage)
		}
		if as, err = saslname(as); err != nil {
			return nil, err
		}
		if as != name {
			return nil, fmt.Errorf("acting for another user is not offered; leave the authorization id out: %w", ErrMessage)
		}
	}

	own := make([]byte, nonceBytes)
	if _, err := io.ReadFull(e.random, own); err != nil {
		return nil, fmt.Errorf("random bytes for a nonce: %w", err)
	}
	e.name = name
	e.client = nonce
	e.nonce = nonce + base64.RawStdEncoding.EncodeToString(own)
	_, v, _ := e.users.find(e.mechanism, name)
	answer := "r=" + e.nonce + ",s=" + base64.StdEncoding.EncodeToString(v.Salt) + ",i=" + strconv.Itoa(v.Iterations)
	e.auth = bare + "," + answer
	return []byte(answer), nil
}

// final reads "c=biws,r=nonce,p=proof".
func (e *Exchange) final(message string) ([]byte, error) {
	i := strings.LastIndex(message, ",p=")
	if i < 0 {
		return nil, fmt.Errorf("client-final has no proof: %w", ErrMessage)
	}
	unproven, encoded := message[:i], message[i+len(",p="):]
	attributes := strings.Split(unproven, ",")
	if len(attributes) < 2 || !strings.HasPrefix(attributes[0], "c=") || !strings.HasPrefix(attributes[1], "r=") {
		return nil, fmt.Errorf("client-final is not c=binding,r=nonce,p=proof: %w", ErrMessage)
	}
	if attributes[0][2:] != e.binding {
		return nil, fmt.Errorf("client-final repeats another GS2 header: %w", ErrMessage)
	}
	// Older librdkafka, such as 2.0.2 of kcat in distributions, puts its own
	// nonce before the whole once more. The proof covers ours all the same.
	if r := attributes[1][2:]; r != e.nonce && r != e.client+e.nonce {
		return nil, fmt.Errorf("client-final repeats another nonce: %w", ErrMessage)
	}
	proof, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("client-final has no proper proof: %w", ErrMessage)
	}
	principal, v, known := e.users.find(e.mechanism, e.name)
	auth := e.auth + "," + unproven
	fits := v.check(e.hash, auth, proof)
	signature := mac(e.hash, v.ServerKey, auth)
	if !fits || !known {
		return []byte("e=invalid-proof"), ErrCredentials
	}
	e.principal = principal
	return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), nil
}

// saslname undoes the escapes of a name (RFC 5802 section 5.1).
func saslname(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '=':
			b.WriteByte(s[i])
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
			i += 2
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
			i += 2
		default:
			return "", fmt.Errorf("name has a = that is neither =2C nor =3D: %w", ErrMessage)
		}
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("name is empty: %w", ErrMessage)
	}
	return b.String(), nil
}

// printable reports whether s is a nonce: printable ASCII without comma.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] > 0x7e || s[i] == ',' {
			return false
		}
	}
	return s != ""
}
