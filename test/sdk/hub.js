'use strict';
// What the tests share: the node under test, its commands, and clients of the
// SDKs for it. Environment: GEMELLO (the binary), GEMELLO_DATA (data directory).
const { execFile } = require('node:child_process');
const { createHmac, randomBytes } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { promisify } = require('node:util');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { NoRetry } = require('azure-iot-common');
const { Registry } = require('azure-iothub');

const binary = process.env.GEMELLO;
const data = process.env.GEMELLO_DATA;

/** What the node says of itself while it is ready; throws while it is not. */
function runInfo() {
  return JSON.parse(readFileSync(join(data, 'run.json'), 'utf8'));
}

const host = runInfo().hostnames[0];

/** Runs a gemello command on the node and returns its standard output. */
async function gemello(...args) {
  const { stdout } = await promisify(execFile)(binary, [...args, '--data', data], { maxBuffer: 1 << 28 });
  return stdout;
}

/** All records of a topic; none while there is no such topic. */
async function records(topic) {
  let text;
  try {
    text = await gemello('tail', topic, '--from', 'start', '--follow=false', '--json');
  } catch (e) {
    if (/no.*topic|topic.*not/i.test(e.stderr)) return [];
    throw e;
  }
  return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

/** Telemetry of a device as it is in the log, oldest first. */
async function telemetry(deviceId) {
  const all = await records('gemello.device-log');
  return all.filter((r) => r.key === deviceId && r.headers.kind === 'telemetry');
}

/** Calls f until it returns a value that is true; an error counts as no value. */
async function until(what, f, ms = 20000) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const value = await f();
      if (value) return value;
    } catch (e) {
      last = e;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

let owner;
/** Connection string of the policy that may do everything. */
async function policy() {
  owner ??= (await gemello('connection-string', '--policy', 'iothubowner')).trim();
  return owner;
}

async function registry() {
  return Registry.fromConnectionString(await policy());
}

/** An id that no other test has. */
function fresh(name) {
  return `${name}-${randomBytes(4).toString('hex')}`;
}

/** Creates a device and returns it with its connection string. */
async function createDevice(name, more = {}) {
  const made = (await (await registry()).create({ deviceId: fresh(name), ...more })).responseBody;
  return { ...made, connectionString: connectionString(made.deviceId, made.authentication.symmetricKey.primaryKey) };
}

function connectionString(id, key) {
  return `HostName=${host};DeviceId=${id};SharedAccessKey=${key}`;
}

/** A SAS token of a device that ends at a Unix time in seconds. */
function token(id, key, ends) {
  const resource = encodeURIComponent(`${host}/devices/${id}`);
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(`${resource}\n${ends}`).digest('base64');
  return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${ends}`;
}

/** A client that reports failures rather than to try again for minutes. */
function strict(client) {
  client.setRetryPolicy(new NoRetry());
  return client;
}

/** Opens a client, hands it to f and closes it whatever happens. */
async function using(client, f) {
  try {
    await client.open();
    return await f(client);
  } finally {
    await client.close().catch(() => {});
    client.removeAllListeners();
  }
}

function clientOf(device) {
  return Client.fromConnectionString(device.connectionString ?? device, Mqtt);
}

/** A twin's reported.update as a promise. */
function report(twin, patch) {
  return new Promise((resolve, reject) => twin.properties.reported.update(patch, (e) => (e ? reject(e) : resolve())));
}

module.exports = {
  host, runInfo, gemello, records, telemetry, until, policy, registry, fresh, createDevice, connectionString, token,
  strict, using, clientOf, report,
};
