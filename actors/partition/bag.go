package partition

import (
	"net/url"
	"strings"
)

// messageIDs finds the message and correlation ids in a canonical property bag
// (azure-iot-wire 2.3); nearly all bags hold neither.
func messageIDs(bag string) (message, correlation string) {
	if !strings.Contains(bag, ".mid=") && !strings.Contains(bag, ".cid=") {
		return "", ""
	}
	for pair := range strings.SplitSeq(bag, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "$.mid", "%24.mid":
			message = unescaped(value)
		case "$.cid", "%24.cid":
			correlation = unescaped(value)
		}
	}
	return message, correlation
}

func unescaped(s string) string {
	if v, err := url.PathUnescape(s); err == nil {
		return v
	}
	return s
}
