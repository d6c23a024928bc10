// Package webhook posts routed messages to web servers.
//
// A batch is a JSON array in one POST. Each item has the form of a record at a
// storage endpoint (azure-iot-wire 9.4) and the member Id, the message's place in
// the device log: it is the same when the message is posted again, which happens
// after a crash or an answer that was lost. Any status 2xx takes the batch; 400,
// 413, 415 and 422 refuse it for good; all else is an error that may pass.
//
// Addresses of loopback, private and link-local networks are refused unless
// Options.Private allows them, after the name was resolved, so that a name can't
// lead into the node's own network. Redirects are followed to the same host
// alone, and the authorization goes nowhere else.
package webhook
