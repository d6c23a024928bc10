'use strict';
// What the tests share: the node under test, its commands, and clients of the
// SDKs for it. Environment: GEMELLO (the binary), GEMELLO_DATA (data directory),
// GEMELLO_TIGHT (data directory of a node with low rates; absent: there is none).
const { execFile, spawn } = require('node:child_process');
const { createHmac, randomBytes } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const { promisify } = require('node:util');
const { NoRetry, SharedAccessSignature } = require('azure-iot-common');
const { Client: ServiceClient, Registry } = require('azure-iothub');

const binary = process.env.GEMELLO;

/** Calls f until it returns a value that is true; an error counts as no value,
 * unless it is marked as final. */
async function until(what, f, ms = 120000) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const value = await f();
      if (value) return value;
    } catch (e) {
      if (e.final) throw e;
      last = e;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** An id that no other test has. */
function fresh(name) {
  return `${name}-${randomBytes(4).toString('hex')}`;
}

/** Seconds of Unix time from now. */
const inSeconds = (n) => Math.floor(Date.now() / 1000) + n;

/** A SAS token for a resource, as HOST/devices/ID, that ends at a Unix time in seconds. */
function signed(resource, key, ends, policy) {
  const sr = encodeURIComponent(resource);
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(`${sr}\n${ends}`).digest('base64');
  return `SharedAccessSignature sr=${sr}&sig=${encodeURIComponent(signature)}&se=${ends}${policy ? `&skn=${policy}` : ''}`;
}

/** A node, found by its data directory. */
class Hub {
  #policies = new Map();
  #clients = {};
  #topics = new Map(); // topic → device id → records

  constructor(data) {
    this.data = data;
    this.host = this.info().hostnames[0];
  }

  /** What the node says of itself while it is ready; throws while it is not. */
  info() {
    return JSON.parse(readFileSync(join(this.data, 'run.json'), 'utf8'));
  }

  /** Runs a gemello command on the node and returns its standard output. */
  async gemello(...args) {
    const { stdout } = await promisify(execFile)(binary, [...args, '--data', this.data], { maxBuffer: 1 << 28 });
    return stdout;
  }

  /** A request of the admin API; resolves with the body. */
  async admin(method, path, body) {
    const { admin, tokenFile } = this.info();
    const response = await fetch(new URL(`/api/v1${path}`, admin), {
      method, body: body && JSON.stringify(body),
      headers: { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`, 'content-type': 'application/json' },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text && JSON.parse(text);
  }

  /** Connection string of a policy. */
  async policy(name = 'iothubowner') {
    if (!this.#policies.has(name)) this.#policies.set(name, this.gemello('connection-string', '--policy', name));
    return (await this.#policies.get(name)).trim();
  }

  async registry() {
    return (this.#clients.registry ??= Registry.fromConnectionString(await this.policy()));
  }

  /** Calls a method of a device, or of a module, and returns {status, payload}. */
  async invoke(ref, methodName, payload, more = {}) {
    const service = (this.#clients.service ??= ServiceClient.fromConnectionString(await this.policy()));
    const { deviceId = ref, moduleId } = ref;
    const params = { methodName, payload, ...more };
    const { result } = await (moduleId ? service.invokeDeviceMethod(deviceId, moduleId, params) : service.invokeDeviceMethod(deviceId, params));
    return { status: result.status, payload: result.payload };
  }

  /** Queues a message for a device. */
  send(deviceId, body, more = {}) {
    return this.admin('POST', `/devices/${encodeURIComponent(deviceId)}/commands`, { body, ...more });
  }

  /** The messages that wait for a device. */
  async queued(deviceId) {
    return (await this.admin('GET', `/devices/${encodeURIComponent(deviceId)}/commands`)).commands;
  }

  /** All records of a topic; none while there is no such topic. */
  async records(topic) {
    let text;
    try {
      text = await this.gemello('tail', topic, '--from', 'start', '--follow=false', '--json');
    } catch (e) {
      if (/no.*topic|topic.*not/i.test(e.stderr)) return [];
      throw e;
    }
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** Records of a device in a topic so far, oldest first. One follower serves all tests of a process. */
  log(deviceId, topic = 'gemello.device-log') {
    if (!this.#topics.has(topic)) {
      const log = new Map();
      this.#topics.set(topic, log);
      const tail = spawn(binary, ['tail', topic, '--from', 'start', '--json', '--data', this.data], { stdio: ['ignore', 'pipe', 'ignore'] });
      createInterface(tail.stdout).on('line', (line) => {
        const record = JSON.parse(line);
        if (!log.has(record.key)) log.set(record.key, []);
        log.get(record.key).push(record);
      });
      // It must not keep a process alive whose tests have ended, nor outlive it.
      tail.unref();
      tail.stdout.unref();
      process.once('exit', () => tail.kill());
    }
    return this.#topics.get(topic).get(deviceId) ?? [];
  }

  /** Telemetry of a device in the log, oldest first, as soon as there are n messages. */
  telemetry(deviceId, n = 1) {
    return until(`${n} messages of ${deviceId} in the log`, () => {
      const all = this.log(deviceId).filter((r) => r.headers.kind === 'telemetry');
      return all.length >= n && all;
    });
  }

  /** Creates a device with keys and returns it with its connection string. */
  async createDevice(name, more = {}) {
    const made = (await (await this.registry()).create({ deviceId: fresh(name), ...more })).responseBody;
    return { ...made, connectionString: this.connectionString(made.deviceId, made.authentication.symmetricKey.primaryKey) };
  }

  connectionString(id, key) {
    return `HostName=${this.host};DeviceId=${id};SharedAccessKey=${key}`;
  }

  /** A token of a policy for a resource below the host, '' for all of it. */
  async policyToken(name, path = '', ends = inSeconds(600)) {
    const key = /SharedAccessKey=(.*)/.exec(await this.policy(name))[1];
    return SharedAccessSignature.create(`${this.host}${path}`, name, key, ends).toString();
  }
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

/** A twin's reported.update as a promise. */
function report(twin, patch) {
  return new Promise((resolve, reject) => twin.properties.reported.update(patch, (e) => (e ? reject(e) : resolve())));
}

/** Listens for desired properties, or with path for a part of them. When the hub
 * knows of it, resolves with a function that awaits the first for which f holds. */
async function desired(client, twin, f, path = '') {
  const first = new Promise((resolve) => twin.on(`properties.desired${path}`, (d) => { if (f(d)) resolve(d); }));
  // The SDK does not say when it has subscribed; what it asks afterwards is answered after that.
  await client.getTwin();
  return () => first;
}

/** The property bag of a record, decoded. */
function bag(record) {
  const pairs = (record.headers.props ?? '').split('&').filter(Boolean);
  return Object.fromEntries(pairs.map((p) => p.split('=').map(decodeURIComponent)));
}

/** Rows of a query of the SDK, all pages. */
async function rowsOf(query) {
  const rows = [];
  while (query.hasMoreResults) rows.push(...(await query.next()).result);
  return rows;
}

const main = new Hub(process.env.GEMELLO_DATA);
const tight = process.env.GEMELLO_TIGHT ? new Hub(process.env.GEMELLO_TIGHT) : undefined;

module.exports = { main, tight, until, fresh, inSeconds, signed, strict, using, report, desired, bag, rowsOf };
