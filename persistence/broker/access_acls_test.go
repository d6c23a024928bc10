package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func aclsOf(w *wire, change func(*kmsg.DescribeACLsRequest)) (*kmsg.DescribeACLsResponse, int) {
	w.t.Helper()
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	if change != nil {
		change(req)
	}
	resp := ask[*kmsg.DescribeACLsResponse](w, req, 3)
	n := 0
	for _, r := range resp.Resources {
		n += len(r.ACLs)
	}
	return resp, n
}

func TestDescribeACLsShowsTheRules(t *testing.T) {
	s := start(t, Options{Private: []string{"hub.device-log"}, ReadOnly: []string{"hub.events"}, PrivatePrefix: "hub."})
	w := dial(t, s)
	rules := len(s.guard.rules.List())
	for name, c := range map[string]struct {
		change func(*kmsg.DescribeACLsRequest)
		want   int
	}{
		"all":              {nil, rules},
		"of the principal": {func(r *kmsg.DescribeACLsRequest) { r.Principal = kmsg.StringPtr("User:ANONYMOUS") }, rules},
		"of another":       {func(r *kmsg.DescribeACLsRequest) { r.Principal = kmsg.StringPtr("User:ana") }, 0},
		"of another host":  {func(r *kmsg.DescribeACLsRequest) { r.Host = kmsg.StringPtr("10.0.0.1") }, 0},
		"of a name": {func(r *kmsg.DescribeACLsRequest) {
			r.ResourceType, r.ResourceName = kmsg.ACLResourceTypeTopic, kmsg.StringPtr("hub.device-log")
		}, 1},
		"that count for a name": {func(r *kmsg.DescribeACLsRequest) {
			r.ResourceType, r.ResourceName, r.ResourcePatternType = kmsg.ACLResourceTypeGroup, kmsg.StringPtr("hub.x"), kmsg.ACLResourcePatternTypeMatch
		}, 3},
		"prefixed": {func(r *kmsg.DescribeACLsRequest) { r.ResourcePatternType = kmsg.ACLResourcePatternTypePrefixed }, 3},
		"denying writes": {func(r *kmsg.DescribeACLsRequest) {
			r.Operation, r.PermissionType = kmsg.ACLOperationWrite, kmsg.ACLPermissionTypeDeny
		}, 1},
	} {
		resp, n := aclsOf(w, c.change)
		if resp.ErrorCode != 0 || n != c.want {
			t.Errorf("%s: %d rules, want %d, %v", name, n, c.want, kerr.ErrorForCode(resp.ErrorCode))
		}
	}
	if resp, _ := aclsOf(w, func(r *kmsg.DescribeACLsRequest) { r.Operation = 99 }); resp.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("an operation that is none: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	if resp, _ := aclsOf(dial(t, start(t, Options{})), nil); resp.ErrorCode != kerr.SecurityDisabled.Code {
		t.Errorf("without rules: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
}

func TestRulesAreNotChangedByClients(t *testing.T) {
	s := start(t, Options{Private: []string{"secret"}})
	node := dial(t, s)
	login256(t, node, nodeUser, s.password)
	for name, c := range map[string]struct {
		w    *wire
		want *kerr.Error
	}{"anonymous": {dial(t, s), kerr.ClusterAuthorizationFailed}, "node": {node, kerr.SecurityDisabled}} {
		create := kmsg.NewPtrCreateACLsRequest()
		create.Creations = append(create.Creations, kmsg.NewCreateACLsRequestCreation())
		if got := ask[*kmsg.CreateACLsResponse](c.w, create, 3).Results; len(got) != 1 || got[0].ErrorCode != c.want.Code {
			t.Errorf("%s creates: %+v", name, got)
		}
		remove := kmsg.NewPtrDeleteACLsRequest()
		remove.Filters = append(remove.Filters, kmsg.NewDeleteACLsRequestFilter(), kmsg.NewDeleteACLsRequestFilter())
		if got := ask[*kmsg.DeleteACLsResponse](c.w, remove, 3).Results; len(got) != 2 || got[0].ErrorCode != c.want.Code {
			t.Errorf("%s deletes: %+v", name, got)
		}
	}
}

func TestUsersAreShownWithoutTheirSecrets(t *testing.T) {
	s := start(t, Options{Users: []User{{"ana", "first"}, {"bob", "second"}}})
	w := dial(t, s)
	login256(t, w, "ana", "first")
	describe := func(names ...string) []kmsg.DescribeUserSCRAMCredentialsResponseResult {
		req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		for _, name := range names {
			u := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
			u.Name = name
			req.Users = append(req.Users, u)
		}
		return ask[*kmsg.DescribeUserSCRAMCredentialsResponse](w, req, 0).Results
	}
	if all := describe(); len(all) != 2 || all[0].User != "ana" || len(all[0].CredentialInfos) != 2 || all[0].CredentialInfos[0].Iterations < 4096 {
		t.Errorf("all: %+v", all)
	}
	for _, r := range describe("bob", "eve", nodeUser, "ana", "ana") {
		want := map[string]int16{"bob": 0, "eve": kerr.ResourceNotFound.Code, nodeUser: kerr.ResourceNotFound.Code, "ana": kerr.DuplicateResource.Code}[r.User]
		if r.ErrorCode != want {
			t.Errorf("%s: %v", r.User, kerr.ErrorForCode(r.ErrorCode))
		}
	}
}

func TestThereAreNoQuotas(t *testing.T) {
	w := dial(t, start(t, Options{}))
	resp := ask[*kmsg.DescribeClientQuotasResponse](w, kmsg.NewPtrDescribeClientQuotasRequest(), 1)
	if resp.ErrorCode != 0 || resp.Entries == nil || len(resp.Entries) != 0 {
		t.Errorf("%+v", resp)
	}
}
