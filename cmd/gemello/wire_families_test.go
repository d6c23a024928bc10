package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestEachLineOfOtherFamiliesHasATest holds the lines of azure-iot-wire 14, and
// those of 13.4 on clients that have no section there, as far as they concern MQTT
// and HTTPS, against the tests by frames and requests made by hand. A name is
// that of a test, or of its function and a line of it.
//
//	Python device
//	  TLS 1.2 only, no ALPN                                 | TestPythonDevices/TLS 1.2 only, no ALPN
//	  Host: {host}:443 on the WebSocket upgrade             | TestPythonDevices/Host with the port on the upgrade
//	  model-id percent-encoded, last                        | TestPythonDevices/model-id is percent-encoded and comes last
//	  QoS 1 for everything                                  | TestPythonDevices/everything is published with QoS 1
//	  a SUBACK failure is ignored                           | TestPythonDevices/a SUBACK failure is ignored
//	  a missing PUBACK is waited for without end            | TestPythonDevices/a message refused by closing is sent again for ever
//	  closing makes it send again for ever                  | TestPythonDevices/a message refused by closing is sent again for ever
//	  CONNACK 4 and 5 end it, 3 is retried                  | TestPythonDevices/CONNACK 5 for a credential, 3 for a rate, never none
//	  twin results by the topic's status                    | TestPythonDevices/twin results have status and errorCode
//	  desired patches must carry $version                   | TestPythonDevices/desired patches carry $version
//	  twin GET after a reconnect, not subscribed            | TestPythonDevices/a twin GET after a reconnect without subscribing
//	  unencoded = or / in C2D topics                        | TestPythonDevices/values in C2D topics are encoded
//	  largest body 262,111 bytes                            | TestPythonDevices/the largest body is 262,111 bytes
//	  invoke_method sends api-version=2019-10-01            | TestPythonDevices/invoke_method sends api-version 2019-10-01
//	Python service
//	  C2D through uAMQP                                     | needs AMQP
//	  If-Match quoted for identities and twins              | TestPythonServices/If-Match is "*" or quoted for identities and twins
//	  If-Match unquoted for the others                      | TestPythonServices/If-Match is unquoted for configurations and digital twins
//	  null payload as "", time-outs left out                | TestPythonServices/a null method payload is sent as "", time-outs are left out
//	  empty-string dates                                    | TestPythonServices/empty-string dates break its models
//	  the same Request-Id while the first is open           | TestPythonServices/a request that is repeated while the first is open is one
//	  query_scheduled_jobs                                  | TestPythonServices/query_scheduled_jobs: the bare array stays
//	Java device
//	  HostName with a dot                                   | TestJavaDevices/a HostName with a dot: 127.0.0.1 is in the certificate
//	  keep-alive 230, CleanSession 0, 2020-09-30            | TestJavaDevices/keep-alive 230, CleanSession 0, api-version 2020-09-30 on MQTT and HTTPS
//	  ?iothub-no-client-cert=true                           | TestJavaDevices/?iothub-no-client-cert=true on WSS with SAS
//	  an empty list of authorities                          | TestJavaDevices/an empty list of authorities
//	  plain $.mid=, $.cdid                                  | TestJavaDevices/system keys are plain $.mid=, $.cdid always
//	  module topics end in /, $.cmid                        | TestJavaDevices/every module telemetry topic ends in /
//	  QoS 1 of twin messages and method answers             | TestJavaDevices/twin messages and method answers with QoS 1
//	  modules subscribe devicebound                         | TestJavaDevices/modules subscribe devicebound of their own
//	  C2D bag from the first %24                            | TestJavaDevices/C2D: the bag is read from the first %24 on
//	  C2D: a key alone or key=                              | TestJavaDevices/C2D: empty values are left out
//	  twin results by the topic's status                    | TestJavaDevices/twin results are judged by the topic's status
//	  &$version=N of a reported patch                       | TestJavaDevices/a stale $version of a reported patch is 412
//	  method names undecoded                                | TestJavaDevices/method names reach the application undecoded
//	  an empty method payload becomes {}                    | TestJavaDevices/an empty method payload becomes {}: null is sent
//	  sendEventAsync reorders                               | TestJavaDevices/sendEventAsync reorders messages: they stay as they came
//	  HTTPS: reject                                         | TestRequestsOfOtherSDKFamilies/Java, HTTPS: reject is &%3Freject=true
//	  HTTPS: abandon                                        | TestRequestsOfOtherSDKFamilies/Java, HTTPS: abandon is a POST with a one-byte body and a form content type
//	  HTTPS: batch with base64Encoded                       | TestRequestsOfOtherSDKFamilies/Java, HTTPS: batch adds base64Encoded
//	  HTTPS: unescaped quotes                               | TestRequestsOfOtherSDKFamilies/Java, HTTPS: unescaped quotes in property values are invalid JSON
//	  HTTPS: iothub-messagelocktimeout, polls               | TestRequestsOfOtherSDKFamilies/Java, HTTPS: polls for C2D even without a callback
//	  HTTPS: polls each 10 ms                               | TestIdlePollsAreHeldBackAndParallelOnesRefused
//	Java service
//	  X-HTTP-Method-Override, nulls, empty sections         | TestJavaServices/twin PATCH is POST with X-HTTP-Method-Override, full of nulls
//	  creates with Enabled, empty texts, year 1             | TestJavaServices/creates with what it may not set
//	  ids in URLs are not encoded                           | TestJavaServices/ids in URLs are not encoded
//	  PUT /devices/a%b                                      | TestJavaServices/ids in URLs may not even look encoded
//	  Request-Id is a counter                               | TestJavaServices/Request-Id is a counter and not on every call
//	  job cancel posts {}                                   | TestJavaServices/job cancel posts {}
//	  null and other words in job documents                 | TestJavaServices/job documents leave out what is null, and pending, canceled, type
//	  error numbers in shapes 2 and 3                       | TestJavaServices/error numbers in shape 3, or in shape 2 with an empty ExceptionMessage
//	  ETag, HTTP/1.1                                        | TestJavaServices/a digital twin's ETag is spelled ETag, over HTTP/1.1
//	  enableDeviceCount                                     | TestJavaServices/getStatistics reads enableDeviceCount
//	  methods of 200 s + 200 s                              | TestJavaServices/method defaults are 200 s and 200 s
//	C#, C, direct MQTT, Node, IoT Explorer
//	  C#: /? in topics                                      | TestOtherDevices/C#: answers have /? before the request id
//	  C#: modules/{mid}/#                                   | TestOtherDevices/C#: module filter modules/{mid}/#
//	  C#: will message                                      | TestOtherDevices/C#: will message
//	  C#: x-ms-item-type                                    | TestOtherServices/C#: x-ms-item-type is there and right
//	  C#: AMQP multiplexing, twin correlation ids           | needs AMQP
//	  C#, Java: /messages/servicebound/feedback             | TestOtherServices/C#, Java: feedback via /messages/servicebound/feedback
//	  C: lower-case percent-encoding                        | TestOtherDevices/C: percent-encoding in lower case
//	  C: SASL MSSBCBS                                       | needs AMQP
//	  direct MQTT: user name without /?, QoS 0              | TestOtherDevices/direct MQTT: user name without /?, QoS 0
//	  Node: the server's chain                              | TestOtherDevices/Node: certificates of the server's whole chain
//	  Node: HTTPS settles                                   | TestRequestsOfOtherSDKFamilies/Node: If-Match without quotes, Accept and a length on GET
//	  Python: Host with the port over HTTPS                 | TestRequestsOfOtherSDKFamilies/Python: Host with the port
//	  IoT Explorer: projection, STARTSWITH                  | TestOtherServices/IoT Explorer: projection query and STARTSWITH
//	  IoT Explorer: SAS of a path                           | TestOtherServices/IoT Explorer: a service SAS scoped to the path
//	  event monitoring through Event Hubs                   | needs AMQP
//	  any case, one trailing slash: devices                 | TestRequestsOfOtherSDKFamilies/fixed words in any case and one trailing slash
//	  any case, one trailing slash: services                | TestOtherServices/paths without case and with one trailing slash
//	  a body on GET                                         | TestOtherServices/a body on GET
func TestEachLineOfOtherFamiliesHasATest(t *testing.T) {
	tests, doc := testsHere(t)
	named, lines := map[string]bool{}, 0
	for line := range strings.Lines(doc) {
		what, test, ok := strings.Cut(line, "|")
		if !ok {
			continue
		}
		lines++
		switch test = strings.TrimSpace(test); {
		case test == "needs AMQP":
		case !tests[test]:
			t.Errorf("%s: no test %q", strings.TrimSpace(what), test)
		}
		named[test] = true
	}
	if lines < 60 {
		t.Errorf("%d lines; the table is not where it was", lines)
	}
	for test := range tests {
		function, _, line := strings.Cut(test, "/")
		switch function {
		case "TestPythonDevices", "TestPythonServices", "TestJavaDevices", "TestJavaServices", "TestOtherDevices", "TestOtherServices", "TestRequestsOfOtherSDKFamilies":
			if line && !named[test] {
				t.Errorf("%s is in no line of the table", test)
			}
		}
	}
}

// testsHere returns the tests of this package, with the lines that are named by a
// literal, and the comment of the table.
func testsHere(t *testing.T) (tests map[string]bool, table string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests = map[string]bool{}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			tests[f.Name.Name] = true
			if f.Name.Name == "TestEachLineOfOtherFamiliesHasATest" {
				table = f.Doc.Text()
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 2 && runs(call.Fun) {
					if lit, ok := call.Args[0].(*ast.BasicLit); ok {
						if line, err := strconv.Unquote(lit.Value); err == nil {
							tests[f.Name.Name+"/"+line] = true
						}
					}
				}
				return true
			})
		}
	}
	return tests, table
}

// runs tells whether a function runs a line: t.Run, or on of the families.
func runs(f ast.Expr) bool {
	switch f := f.(type) {
	case *ast.Ident:
		return f.Name == "on"
	case *ast.SelectorExpr:
		return f.Sel.Name == "Run"
	}
	return false
}
