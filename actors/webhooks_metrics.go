package actors

import "github.com/prometheus/client_golang/prometheus"

// webhookMetrics count what is posted; webhooks are few by their limit.
type webhookMetrics struct {
	posted *prometheus.CounterVec
	posts  *prometheus.CounterVec
}

func newWebhookMetrics() *webhookMetrics {
	return &webhookMetrics{
		posted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "webhook_messages_total", Help: "Messages by what became of them at a webhook."}, []string{"webhook", "result"}),
		posts:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "webhook_post_failures_total", Help: "Attempts to post to a webhook that failed."}, []string{"webhook"}),
	}
}

func (m *webhookMetrics) register(r prometheus.Registerer) { r.MustRegister(m.posted, m.posts) }
