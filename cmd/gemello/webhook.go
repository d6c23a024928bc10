package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/sinks/webhook"
)

// webhookSender opens sealed authorizations and gives messages the form that
// webhooks get.
type webhookSender struct {
	poster *webhook.Poster
	sealer *credential.Sealer
}

var _ actors.WebhookSender = webhookSender{}

func (s webhookSender) Post(ctx context.Context, w partition.Webhook, batch []actors.WebhookMessage) error {
	authorization := ""
	if w.Authorization != nil {
		b, err := s.sealer.Open(w.Authorization, webhookScope(w.Name))
		if err != nil {
			return fmt.Errorf("authorization: %w", err)
		}
		authorization = string(b)
	}
	items := make([]webhook.Item, len(batch))
	for i := range batch {
		items[i] = webhookItem(&batch[i])
	}
	err := s.poster.Post(ctx, w.URL, authorization, webhook.AppendBatch(nil, items))
	if errors.Is(err, webhook.ErrRefused) {
		return fmt.Errorf("%w: %w", actors.ErrWebhookRefused, err)
	}
	return err
}

// storageNames are the names that headers have as SystemProperties of a record
// at a storage endpoint (azure-iot-wire 9.4).
var storageNames = map[string]string{
	"iothub-connection-device-id":          "connectionDeviceId",
	"iothub-connection-module-id":          "connectionModuleId",
	"iothub-connection-auth-method":        "connectionAuthMethod",
	"iothub-connection-auth-generation-id": "connectionDeviceGenerationId",
	"iothub-creation-time-utc":             "creationTimeUtc",
	"iothub-interface-id":                  "interfaceId",
	"dt-dataschema":                        "dataSchema",
	"dt-subject":                           "subject",
	"message-id":                           "messageId",
	"correlation-id":                       "correlationId",
	"user-id":                              "userId",
	"to":                                   "to",
	"content-type":                         "contentType",
	"content-encoding":                     "contentEncoding",
	"absolute-expiry-time":                 "absoluteExpiryTime",
	"output-name":                          "outputName",
	"message-schema":                       "messageSchema",
	"diagnostic-id":                        "diagnosticId",
	"diagnostic-context":                   "diagnosticContext",
}

func webhookItem(m *actors.WebhookMessage) webhook.Item {
	it := webhook.Item{Enqueued: m.Time, Properties: map[string]string{}, System: map[string]string{}, Body: m.Value}
	for _, h := range m.Headers {
		value := string(h.Value)
		switch h.Key {
		case "gemello-log-position":
			it.ID = value
		case "iothub-message-source":
			it.Source = value
		case "iothub-enqueuedtime":
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil {
				it.Enqueued = time.UnixMilli(ms)
			}
		default:
			if name := storageNames[h.Key]; name != "" {
				it.System[name] = value
			} else {
				it.Properties[strings.TrimPrefix(h.Key, "app:")] = value
			}
		}
	}
	it.System["enqueuedTime"] = it.Enqueued.UTC().Format("2006-01-02T15:04:05.0000000Z")
	return it
}
