package device

// Header names of device-log records (docs/format/device-log.md). The record's
// key is the device id and its value the body bytes as received.
const (
	HeaderKind       = "kind"    // one of the Kind constants
	HeaderModule     = "module"  // module id, absent for the device itself
	HeaderBag        = "props"   // canonical property bag (azure-iot-wire 2.3), absent when empty
	HeaderAuth       = "auth"    // scope and type of the session's credential, "device;sas"
	HeaderGeneration = "gen"     // generation id of the identity that sent it
	HeaderModel      = "model"   // telemetry and connection records: model id of the session, absent when it has none
	HeaderClock      = "clock"   // the gateway's wall clock, Unix milliseconds in decimal
	HeaderActor      = "actor"   // control records: who asked, "device:ID" or "policy:NAME"
	HeaderCredential = "cred"    // control records: which credential, never the secret
	HeaderAddress    = "addr"    // control records: source address
	HeaderRequest    = "request" // control records: NODE/SEQUENCE, where the answer goes
	HeaderAudit      = "reqid"   // control records: the client's request id
	HeaderSession    = "session" // connection records: the session's id
	HeaderIfMatch    = "ifmatch" // delete and twin records: etag that the change is conditional on; reported: version; absent when empty
	HeaderAck        = "ack"     // command: what feedback is asked for, absent for none
	HeaderExpires    = "expires" // command: Unix milliseconds, absent for the default
	HeaderMessageID  = "mid"     // command: its message id, absent when it has none
	HeaderTTL        = "ttl"     // command: milliseconds that it waits when it has no expiry, absent for the default
	HeaderDeliveries = "deliv"   // command: how often it is delivered at most, absent for the default
	HeaderFeedback   = "fbttl"   // command: milliseconds that feedback on it waits, absent for the default
	HeaderLockTime   = "locks"   // receive: milliseconds that the locks are in force, absent for the default
	HeaderSize       = "size"    // command: bytes of body and properties as limits count them
	HeaderMax        = "max"     // receive: how many commands at most
	HeaderLock       = "lock"    // settle, feedback: the token of the delivery
	HeaderOutcome    = "outcome" // settle, feedback: complete, abandon or reject
	HeaderJob        = "job"     // job records: the job's id
	HeaderConfig     = "config"  // config records: the configuration's id
	HeaderAction     = "action"  // job records: what is done
	HeaderTaken      = "taken"   // restored: when the backup was made, Unix milliseconds in decimal
	HeaderReplace    = "replace" // twin records: "true" makes tags and desired exactly the body
)

// Kinds of device-log records.
const (
	KindTelemetry    = "telemetry"    // body: the message
	KindTwin         = "twin"         // body: {"tags":…,"properties":{"desired":…}} from the service side
	KindReported     = "reported"     // body: JSON merge patch of reported properties
	KindIdentity     = "identity"     // body: Change in its binary form, keys sealed
	KindDelete       = "delete"       // body: empty
	KindConnected    = "connected"    // body: empty
	KindCommand      = "command"      // body: the command's
	KindReceive      = "receive"      // body: empty; locks commands for a session, or for a poll without one
	KindSettle       = "settle"       // body: empty; ends a delivery
	KindPurge        = "purge"        // body: empty; ends all commands of a device
	KindDue          = "due"          // body: empty; time has come for something in a device's queue
	KindFeedback     = "feedback"     // body: empty; a service reads feedback, or settles it with an outcome
	KindConfig       = "config"       // body: the configuration; for all devices of this partition, which the key chooses
	KindJob          = "job"          // body: the job, or a reason; key: a slash and the job's name
	KindJobPart      = "jobpart"      // body: the job; for all its devices in this partition, which the key chooses
	KindJobStep      = "jobstep"      // body: by the action; for one device of a job
	KindDisconnected = "disconnected" // body: empty
	KindRestored     = "restored"     // body: the device or module as of the state topic; before the log of a restored hub there was another
	KindSetting      = "setting"      // key: "/" and the setting; body: {"action":…,"object":…}, for the audit trail alone
)
