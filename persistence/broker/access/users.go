package access

import (
	"fmt"
	"io"
	"slices"
)

// Login is a name and its password. Super is passed on to the principal.
type Login struct {
	Name, Password string
	Super          bool
}

// String leaves the password out.
func (l Login) String() string { return l.Name }

// GoString keeps the password out of %#v as well.
func (l Login) GoString() string { return l.Name }

// Users are those who may log in. It is immutable, and so safe for concurrent
// use.
type Users struct {
	iterations int
	names      []string
	known      map[string]user
	decoy      []byte // key of the salts and verifiers of names that nobody has
}

type user struct {
	principal Principal
	verifiers map[string]Verifier // by mechanism
}

const saltBytes = 24

// NewUsers makes a verifier for each mechanism of each login, which takes about
// a millisecond each; iterations 0 is MinIterations. random is read for salts;
// it should be crypto/rand.Reader.
func NewUsers(logins []Login, iterations int, random io.Reader) (*Users, error) {
	if iterations == 0 {
		iterations = MinIterations
	}
	u := &Users{iterations: iterations, known: make(map[string]user, len(logins)), decoy: make([]byte, saltBytes)}
	if _, err := io.ReadFull(random, u.decoy); err != nil {
		return nil, fmt.Errorf("random bytes for salts: %w", err)
	}
	for _, l := range logins {
		if l.Name == "" || l.Password == "" {
			return nil, fmt.Errorf("user %q: name and password must not be empty", l.Name)
		}
		if _, twice := u.known[l.Name]; twice {
			return nil, fmt.Errorf("user %q is given twice; remove one", l.Name)
		}
		entry := user{principal: Principal{Name: l.Name, Super: l.Super}, verifiers: map[string]Verifier{}}
		for _, mechanism := range Mechanisms() {
			salt := make([]byte, saltBytes)
			if _, err := io.ReadFull(random, salt); err != nil {
				return nil, fmt.Errorf("random bytes for salts: %w", err)
			}
			v, err := NewVerifier(mechanism, l.Password, salt, iterations)
			if err != nil {
				return nil, fmt.Errorf("user %q: %w", l.Name, err)
			}
			entry.verifiers[mechanism] = v
		}
		u.known[l.Name] = entry
		u.names = append(u.names, l.Name)
	}
	slices.Sort(u.names)
	return u, nil
}

// Names are all names in order.
func (u *Users) Names() []string { return slices.Clone(u.names) }

// Iterations are those of every verifier.
func (u *Users) Iterations() int { return u.iterations }

// Has reports whether there is a user of the name.
func (u *Users) Has(name string) bool { _, ok := u.known[name]; return ok }

// find returns what a login under the name is checked against. A name that
// nobody has gets a salt of its own that stays the same from try to try, like a
// real one, and keys that no password fits.
func (u *Users) find(mechanism, name string) (Principal, Verifier, bool) {
	h, _ := hashOf(mechanism)
	salt := mac(h, u.decoy, "salt "+mechanism+" "+name)[:saltBytes]
	key := mac(h, u.decoy, "key "+mechanism+" "+name)
	if known, ok := u.known[name]; ok {
		return known.principal, known.verifiers[mechanism], true
	}
	return Principal{}, Verifier{Salt: salt, Iterations: u.iterations, StoredKey: key, ServerKey: key}, false
}
