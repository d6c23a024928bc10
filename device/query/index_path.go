package query

import (
	"fmt"
	"strings"

	"github.com/gemello/gemello/device"
)

// fieldNames are the members of a twin document as indexes name them.
var fieldNames = [...]string{
	FieldDeviceID: "deviceId", FieldModuleID: "moduleId", FieldETag: "etag", FieldDeviceETag: "deviceEtag",
	FieldStatus: "status", FieldStatusReason: "statusReason", FieldStatusUpdated: "statusUpdateTime",
	FieldConnectionState: "connectionState", FieldLastActivity: "lastActivityTime", FieldQueued: "cloudToDeviceMessageCount",
	FieldAuthType: "authenticationType", FieldThumbprint: "x509Thumbprint", FieldModelID: "modelId", FieldVersion: "version",
	FieldTags: "tags", FieldProperties: "properties", FieldCapabilities: "capabilities", FieldDeviceScope: "deviceScope",
	FieldParentScopes: "parentScopes", FieldConfigurations: "configurations",
}

// IndexText returns the path as the name of its index, the same for all ways of
// spelling it; false for what has none: ids are the keys that entities are kept
// under, and a whole section is no value that compares.
func (p *Path) IndexText() (string, bool) {
	first := FieldNone
	if !p.Steps[0].IsIndex {
		first = p.field
	}
	switch first {
	case FieldNone, FieldDeviceID, FieldModuleID:
		return "", false
	case FieldTags, FieldCapabilities, FieldConfigurations, FieldThumbprint, FieldParentScopes:
		if len(p.Steps) < 2 {
			return "", false
		}
	case FieldProperties:
		if len(p.Steps) < 3 {
			return "", false
		}
	default:
		if len(p.Steps) > 1 {
			return "", false // they have no members
		}
	}
	q := Path{Steps: append([]Step{{Name: fieldNames[first]}}, p.Steps[1:]...)}
	return string(q.print(nil, 0)), true
}

// ParseIndexPath reads a path that can be indexed, as queries spell it. The error
// wraps device.ErrArgument.
func ParseIndexPath(text string) (*Path, error) {
	p, err := newParser(text, false)
	if err != nil {
		return nil, err
	}
	path, err := p.path()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	if _, ok := path.IndexText(); !ok {
		return nil, fmt.Errorf("%w: %s can't be indexed; a path below tags, properties.desired or properties.reported can, and so can members such as status or modelId",
			device.ErrArgument, clip(strings.TrimSpace(text)))
	}
	return path, nil
}
