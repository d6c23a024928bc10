package broker

import (
	"slices"
	"strings"

	"github.com/gemello/gemello/persistence/broker/access"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Rules are shown and not changed: they follow the options at each start.
const rulesAreOptions = "access rules follow the server's configuration; change it there and start again"

func (s *Server) describeACLs(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeACLsRequest)
	resp := r.response().(*kmsg.DescribeACLsResponse)
	switch {
	case !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster, clusterName):
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil
	case !s.guard.rules.Restricted():
		resp.ErrorCode = kerr.SecurityDisabled.Code
		resp.ErrorMessage = kmsg.StringPtr("no access rules are configured")
		return resp, nil
	}
	f := aclFilter{
		resource: req.ResourceType, name: req.ResourceName, pattern: req.ResourcePatternType,
		principal: req.Principal, host: req.Host, operation: req.Operation, permission: req.PermissionType,
	}
	if !f.valid() {
		resp.ErrorCode = kerr.InvalidRequest.Code
		resp.ErrorMessage = kmsg.StringPtr("filter has a value that is not known")
		return resp, nil
	}
	for _, rule := range s.guard.rules.List() {
		if !f.fits(rule) {
			continue
		}
		i := slices.IndexFunc(resp.Resources, func(d kmsg.DescribeACLsResponseResource) bool {
			return d.ResourceType == rule.Resource && d.ResourceName == rule.Name && d.ResourcePatternType == pattern(rule)
		})
		if i < 0 {
			i = len(resp.Resources)
			d := kmsg.NewDescribeACLsResponseResource()
			d.ResourceType, d.ResourceName, d.ResourcePatternType = rule.Resource, rule.Name, pattern(rule)
			resp.Resources = append(resp.Resources, d)
		}
		acl := kmsg.NewDescribeACLsResponseResourceACL()
		acl.Principal, acl.Host = "User:"+rule.Principal, "*"
		acl.Operation, acl.PermissionType = rule.Operation, permission(rule)
		resp.Resources[i].ACLs = append(resp.Resources[i].ACLs, acl)
	}
	return resp, nil
}

func pattern(r access.Rule) kmsg.ACLResourcePatternType {
	if r.Prefix {
		return kmsg.ACLResourcePatternTypePrefixed
	}
	return kmsg.ACLResourcePatternTypeLiteral
}

func permission(r access.Rule) kmsg.ACLPermissionType {
	if r.Deny {
		return kmsg.ACLPermissionTypeDeny
	}
	return kmsg.ACLPermissionTypeAllow
}

// aclFilter is what a client asks to see; nil and Any fit everything.
type aclFilter struct {
	resource   kmsg.ACLResourceType
	name       *string
	pattern    kmsg.ACLResourcePatternType
	principal  *string
	host       *string
	operation  kmsg.ACLOperation
	permission kmsg.ACLPermissionType
}

func (f aclFilter) valid() bool {
	return f.resource > kmsg.ACLResourceTypeUnknown && f.resource <= kmsg.ACLResourceTypeUser &&
		f.pattern > kmsg.ACLResourcePatternTypeUnknown && f.pattern <= kmsg.ACLResourcePatternTypePrefixed &&
		f.operation > kmsg.ACLOperationUnknown && f.operation <= kmsg.ACLOperationDescribeTokens+1 &&
		f.permission > kmsg.ACLPermissionTypeUnknown && f.permission <= kmsg.ACLPermissionTypeAllow
}

func (f aclFilter) fits(r access.Rule) bool {
	return (f.resource == kmsg.ACLResourceTypeAny || f.resource == r.Resource) &&
		f.fitsName(r) &&
		(f.principal == nil || *f.principal == "User:"+r.Principal) &&
		(f.host == nil || *f.host == "*") &&
		(f.operation == kmsg.ACLOperationAny || f.operation == r.Operation) &&
		(f.permission == kmsg.ACLPermissionTypeAny || f.permission == permission(r))
}

func (f aclFilter) fitsName(r access.Rule) bool {
	switch f.pattern {
	case kmsg.ACLResourcePatternTypeAny:
		return f.name == nil || *f.name == r.Name
	case kmsg.ACLResourcePatternTypeMatch:
		// All rules that count for the name.
		return f.name == nil || *f.name == r.Name || !r.Prefix && r.Name == "*" || r.Prefix && strings.HasPrefix(*f.name, r.Name)
	}
	return f.pattern == pattern(r) && (f.name == nil || *f.name == r.Name)
}

// aclsRefused is the error that a change of rules gets.
func (s *Server) aclsRefused(c *conn) (int16, *string) {
	if !s.allowed(c, kmsg.ACLOperationAlter, kmsg.ACLResourceTypeCluster, clusterName) {
		return kerr.ClusterAuthorizationFailed.Code, nil
	}
	text := rulesAreOptions
	return kerr.SecurityDisabled.Code, &text
}

func (s *Server) createACLs(r *request) (kmsg.Response, error) {
	resp := r.response().(*kmsg.CreateACLsResponse)
	code, text := s.aclsRefused(r.conn)
	for range r.body.(*kmsg.CreateACLsRequest).Creations {
		result := kmsg.NewCreateACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = code, text
		resp.Results = append(resp.Results, result)
	}
	return resp, nil
}

func (s *Server) deleteACLs(r *request) (kmsg.Response, error) {
	resp := r.response().(*kmsg.DeleteACLsResponse)
	code, text := s.aclsRefused(r.conn)
	for range r.body.(*kmsg.DeleteACLsRequest).Filters {
		result := kmsg.NewDeleteACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = code, text
		resp.Results = append(resp.Results, result)
	}
	return resp, nil
}

// describeUserScram tells how passwords are kept (KIP-554), never what they
// are. The node's own user is not shown.
func (s *Server) describeUserScram(r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	resp := r.response().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	if !s.allowed(r.conn, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster, clusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil
	}
	var names []string
	for _, u := range req.Users {
		names = append(names, u.Name)
	}
	if len(names) == 0 {
		names = slices.DeleteFunc(s.guard.users.Names(), func(name string) bool { return name == nodeUser })
	}
	asked := make(map[string]int, len(names))
	for _, name := range names {
		asked[name]++
	}
	for _, name := range names {
		if asked[name] == 0 {
			continue
		}
		result := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		result.User = name
		switch {
		case asked[name] > 1:
			result.ErrorCode = kerr.DuplicateResource.Code
			result.ErrorMessage = kmsg.StringPtr("user is asked for more than once")
		case name == nodeUser || !s.guard.users.Has(name):
			result.ErrorCode = kerr.ResourceNotFound.Code
			result.ErrorMessage = kmsg.StringPtr("there is no such user")
		default:
			for i := range access.Mechanisms() {
				info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
				info.Mechanism, info.Iterations = int8(i+1), int32(s.guard.users.Iterations()) // 1: SHA-256, 2: SHA-512
				result.CredentialInfos = append(result.CredentialInfos, info)
			}
		}
		asked[name] = 0
		resp.Results = append(resp.Results, result)
	}
	return resp, nil
}

// describeClientQuotas tells that there are none. Kafka's tools ask for them
// when they show users.
func (s *Server) describeClientQuotas(r *request) (kmsg.Response, error) {
	resp := r.response().(*kmsg.DescribeClientQuotasResponse)
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	if !s.allowed(r.conn, kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeCluster, clusterName) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
	}
	return resp, nil
}
