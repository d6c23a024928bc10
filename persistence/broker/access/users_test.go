package access

import (
	"slices"
	"testing"
)

func TestUsersWantNameAndPassword(t *testing.T) {
	for name, logins := range map[string][]Login{
		"no name":     {{Password: "x"}},
		"no password": {{Name: "ana"}},
		"twice":       {{Name: "ana", Password: "x"}, {Name: "ana", Password: "y"}},
	} {
		if _, err := NewUsers(logins, 0, &entropy{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := NewUsers([]Login{{Name: "ana", Password: "x"}}, 1000, &entropy{}); err == nil {
		t.Error("1,000 iterations: taken")
	}
	u := users(t, Login{Name: "bob", Password: "x"}, Login{Name: "ana", Password: "y"})
	if !slices.Equal(u.Names(), []string{"ana", "bob"}) || !u.Has("ana") || u.Has("eve") || u.Iterations() != MinIterations {
		t.Errorf("%v", u.Names())
	}
}
