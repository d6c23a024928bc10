package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	scram256 = "SCRAM-SHA-256"
	scram512 = "SCRAM-SHA-512"

	// nodeUser is who clients of the server's own process are.
	nodeUser = "gemello-node"
	// anonymousUser is who the broker takes a client for that does not
	// authenticate.
	anonymousUser = "ANONYMOUS"
)

func restricted(o Options) bool { return len(o.Private)+len(o.ReadOnly) > 0 || o.PrivatePrefix != "" }

// accessFile is how the broker stores its access rules. They and the users
// follow the options at each start, but the broker takes options only for a
// new directory; so for others they are written before it loads them.
type accessFile struct {
	Version int          `json:"version"`
	ACLs    []accessRule `json:"acls"`
}

type accessRule struct {
	Principal    string `json:"principal"`
	Host         string `json:"host"`
	ResourceType int8   `json:"resource_type"`
	ResourceName string `json:"resource_name"`
	Pattern      int8   `json:"pattern"`
	Operation    int8   `json:"operation"`
	Permission   int8   `json:"permission"`
}

func writeAccess(dir string, o Options) error {
	for _, name := range []string{"acls.json", "sasl.json"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("log data directory: %w", err)
		}
	}
	if !restricted(o) {
		return nil
	}
	f := accessFile{Version: 1}
	for _, rule := range anonymousRules(o) {
		permission := kmsg.ACLPermissionTypeDeny
		if rule.Allow {
			permission = kmsg.ACLPermissionTypeAllow
		}
		f.ACLs = append(f.ACLs, accessRule{
			Principal: "User:" + anonymousUser, Host: "*",
			ResourceType: int8(rule.Resource), ResourceName: rule.Name, Pattern: int8(rule.Pattern),
			Operation: int8(rule.Operation), Permission: int8(permission),
		})
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "acls.json"), b, 0o600); err != nil {
		return fmt.Errorf("log data directory: %w", err)
	}
	return nil
}

// anonymousRules let a client that does not authenticate use all topics,
// groups and transactional ids but for those of the options. Of two rules that
// fit, the denying one wins. On the cluster it may look and no more: the right
// to create topics there would cover the private ones too.
func anonymousRules(o Options) []kfake.ACL {
	var rules []kfake.ACL
	add := func(permission bool, resource kmsg.ACLResourceType, pattern kmsg.ACLResourcePatternType, name string, ops ...kmsg.ACLOperation) {
		for _, op := range ops {
			rules = append(rules, kfake.ACL{Resource: resource, Name: name, Pattern: pattern, Operation: op, Allow: permission})
		}
	}
	const (
		allow    = true
		deny     = false
		literal  = kmsg.ACLResourcePatternTypeLiteral
		prefixed = kmsg.ACLResourcePatternTypePrefixed
	)
	for _, resource := range []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId} {
		add(allow, resource, literal, "*", kmsg.ACLOperationAll)
	}
	add(allow, kmsg.ACLResourceTypeCluster, literal, "kafka-cluster",
		kmsg.ACLOperationDescribe, kmsg.ACLOperationIdempotentWrite)

	// A rule denies the operation it names and no other, so all are named.
	everything := []kmsg.ACLOperation{
		kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
		kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
	}
	changes := []kmsg.ACLOperation{
		kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
		kmsg.ACLOperationAlter, kmsg.ACLOperationAlterConfigs,
	}
	for _, topic := range o.Private {
		add(deny, kmsg.ACLResourceTypeTopic, literal, topic, everything...)
	}
	for _, topic := range o.ReadOnly {
		add(deny, kmsg.ACLResourceTypeTopic, literal, topic, changes...)
	}
	if o.PrivatePrefix != "" {
		add(deny, kmsg.ACLResourceTypeTransactionalId, prefixed, o.PrivatePrefix, everything...)
		// Groups stay visible: they are written for lag tools.
		add(deny, kmsg.ACLResourceTypeGroup, prefixed, o.PrivatePrefix, kmsg.ACLOperationRead, kmsg.ACLOperationDelete)
	}
	return rules
}
