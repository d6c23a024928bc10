package mqtt

import (
	"errors"

	"github.com/gemello/gemello/ingest"
)

// Codes of MQTT 5 that this server sends (table 2-6).
const (
	codeSuccess          = 0x00
	codeNoSubscription   = 0x11
	codeUnspecified      = 0x80
	codeMalformed        = 0x81
	codeProtocol         = 0x82
	codeUnsupportedLevel = 0x84
	codeClientID         = 0x85
	codeBadUser          = 0x86
	codeNotAuthorized    = 0x87
	codeUnavailable      = 0x88
	codeBusy             = 0x89
	codeShuttingDown     = 0x8b
	codeBadAuthMethod    = 0x8c
	codeKeepAlive        = 0x8d
	codeTakenOver        = 0x8e
	codeTopicFilter      = 0x8f
	codeTopicName        = 0x90
	codeReceiveMaximum   = 0x93
	codeTopicAlias       = 0x94
	codePacketTooLarge   = 0x95
	codeQuota            = 0x97
	codeAdministrative   = 0x98
	codePayloadFormat    = 0x99
	codeQoS              = 0x9b
	codeShared           = 0x9e
	codeSubscriptionID   = 0xa1
)

// Return codes of CONNACK in MQTT 3.1.1.
const (
	connAccepted      = 0
	connBadLevel      = 1
	connIDRejected    = 2
	connUnavailable   = 3
	connMalformed     = 4
	connNotAuthorized = 5
)

// breach is why a packet ends its connection: the session's reason, the code
// for a client of level 5 and the label of the metric.
type breach struct {
	reason ingest.Reason
	code   byte
	label  string
}

func (b *breach) Error() string { return b.label }

var (
	errMalformed    = &breach{ingest.ReasonProtocol, codeMalformed, "malformed_packet"}
	errProtocol     = &breach{ingest.ReasonProtocol, codeProtocol, "protocol_error"}
	errFirstPacket  = &breach{ingest.ReasonProtocol, codeProtocol, "first_packet_not_connect"}
	errSecond       = &breach{ingest.ReasonProtocol, codeProtocol, "second_connect"}
	errPacketID     = &breach{ingest.ReasonProtocol, codeProtocol, "packet_id_zero"}
	errQoS          = &breach{ingest.ReasonProtocol, codeQoS, "qos_2"}
	errTopicAlias   = &breach{ingest.ReasonProtocol, codeTopicAlias, "topic_alias"}
	errReceiveMax   = &breach{ingest.ReasonProtocol, codeReceiveMaximum, "receive_maximum"}
	errUnknownTopic = &breach{ingest.ReasonProtocol, codeTopicName, "unknown_topic"}
	errForeignTopic = &breach{ingest.ReasonForbidden, codeNotAuthorized, "foreign_topic"}
	errPacketSize   = &breach{ingest.ReasonTooLarge, codePacketTooLarge, "packet_too_large"}
	errMessageSize  = &breach{ingest.ReasonTooLarge, codeQuota, "message_too_large"}
	errTopicSize    = &breach{ingest.ReasonTooLarge, codeQuota, "topic_too_large"}
	errBag          = &breach{ingest.ReasonProtocol, codePayloadFormat, "bad_properties"}
	errRefused      = &breach{ingest.ReasonProtocol, codePayloadFormat, "refused_by_hub"}
	errStrays       = &breach{ingest.ReasonProtocol, codeQuota, "method_response_flood"}
	errSlow         = &breach{ingest.ReasonSlow, codeQuota, "slow_reader"}
	errHubBusy      = &breach{ingest.ReasonBusy, codeBusy, "hub_unavailable"}
)

// asBreach gives the breach in err; other errors come from the connection.
func asBreach(err error) *breach {
	if b := (*breach)(nil); errors.As(err, &b) {
		return b
	}
	return errLost
}

// disconnectCode is the code of the DISCONNECT that tells a client of level 5
// why the hub or the node ends its session.
func disconnectCode(r ingest.Reason) byte {
	switch r {
	case ingest.ReasonTakenOver:
		return codeTakenOver
	case ingest.ReasonExpired, ingest.ReasonForbidden:
		return codeNotAuthorized
	case ingest.ReasonDisabled:
		return codeAdministrative
	case ingest.ReasonProtocol:
		return codeProtocol
	case ingest.ReasonTooLarge:
		return codePacketTooLarge
	case ingest.ReasonShutdown:
		return codeShuttingDown
	case ingest.ReasonSlow:
		return codeQuota
	case ingest.ReasonBusy:
		return codeBusy
	}
	return codeUnspecified
}

// refusal is a CONNACK that says no: the code of each level and the label of
// the metric.
type refusal struct {
	v3, v5 byte
	label  string
}

func (r *refusal) Error() string { return r.label }

var (
	refuseLevel      = &refusal{connBadLevel, codeUnsupportedLevel, "protocol_level"}
	refuseClientID   = &refusal{connIDRejected, codeClientID, "client_id"}
	refuseUserName   = &refusal{connMalformed, codeBadUser, "user_name"}
	refuseMismatch   = &refusal{connNotAuthorized, codeNotAuthorized, "user_name_mismatch"}
	refuseAuthMethod = &refusal{connMalformed, codeBadAuthMethod, "auth_method"}
	refuseCreds      = &refusal{connMalformed, codeBadUser, "credentials"}
	refuseAuth       = &refusal{connNotAuthorized, codeNotAuthorized, "unauthorized"}
	refuseBusy       = &refusal{connUnavailable, codeBusy, "busy"}
	refuseOther      = &refusal{connUnavailable, codeUnavailable, "unavailable"}
	refuseWill       = &refusal{connNotAuthorized, codeNotAuthorized, "will"}
)

// refusalOf maps what the hub answered to Connect. A client gives up for good
// after code 4 or 5 and tries again after 3, so only what will not change by
// itself becomes 4 or 5.
func refusalOf(err error) *refusal {
	switch {
	case errors.Is(err, ingest.ErrUnauthorized), errors.Is(err, ingest.ErrNotFound):
		return refuseAuth
	case errors.Is(err, ingest.ErrInvalid):
		return refuseCreds
	case errors.Is(err, ingest.ErrBusy):
		return refuseBusy
	}
	return refuseOther
}
