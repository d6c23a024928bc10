// Package api is how services and operators reach the hub over HTTP.
//
// Service answers the REST interface that Azure's service SDKs speak
// (azure-iot-wire 5): registry and twins, with SAS tokens of shared access
// policies. Admin answers the node's own interface under /api/v1 with a bearer
// token (docs/operate/admin-api.md), and the open probes /livez, /readyz,
// /healthz and /metrics.
//
// The package knows the hub only through the interfaces that it declares. Every
// error becomes a status, a number and a body in one table (errors.go). Bodies
// are bounded before they are parsed; time-outs belong to the http.Server that
// its owner runs. It never logs a secret, a body or a token, and it is the only
// place where keys are opened for a reader who may see them.
package api
