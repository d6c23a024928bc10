'use strict';
// D1 to D4: a device opens and sends.
const assert = require('node:assert/strict');
const { Message } = require('azure-iot-device');
const { fresh, bag, until } = require('../hub.js');

const LARGEST = 262111; // the largest body that all SDKs send

/** Sends one message and returns its record. */
async function sends(cell, id, what) {
  const n = cell.hub.log(id.deviceId).filter((r) => r.headers.kind === 'telemetry').length;
  const mark = fresh('sent');
  await cell.using(id, (client) => client.sendEvent(new Message(JSON.stringify({ mark }))));
  const record = (await cell.hub.telemetry(id.deviceId, n + 1)).at(-1);
  assert.deepEqual(record.value, { mark }, what);
  return record;
}

/** The credential must be refused as the SDK's UnauthorizedError, at once. */
async function refused(cell, id, what) {
  const client = await cell.client(id);
  try {
    // Over HTTPS the first call is the first that reaches the hub.
    const first = cell.https ? client.open().then(() => client.sendEvent(new Message('{}'))) : client.open();
    await assert.rejects(first, { name: 'UnauthorizedError' }, what);
  } finally {
    await client.close().catch(() => {});
    client.removeAllListeners();
  }
}

async function D1(cell) {
  const id = await cell.identity();
  const record = await sends(cell, id, 'the credential it was made with');
  assert.equal(record.headers.auth, `device;${cell.kind.type}`);
  assert.equal(record.headers.gen, id.generationId);
  for (const [what, other] of cell.kind.good(id)) await sends(cell, other, what);
  if (cell.credential !== 'supplied SAS') return;
  // A policy that may connect devices signs for any of them.
  const signature = await cell.hub.policyToken('device', `/devices/${id.deviceId}`);
  assert.equal((await sends(cell, { ...id, signature }, 'a token of a policy')).headers.auth, 'hub;sas');
}

async function D2(cell) {
  const registry = await cell.hub.registry();
  const id = await cell.identity();
  // Without its authentication the SDK would make it one of keys.
  const identity = { deviceId: id.deviceId, authentication: id.authentication };
  for (const [what, bad] of cell.kind.bad(id)) await refused(cell, bad, what);
  await refused(cell, cell.unknown(), 'an unknown device');

  await cell.using(id, async (client) => {
    const ended = new Promise((resolve) => client.once('disconnect', resolve));
    await client.sendEvent(new Message('{}'));
    await registry.update({ ...identity, status: 'disabled' });
    if (cell.https) await assert.rejects(client.sendEvent(new Message('{}')), { name: 'UnauthorizedError' });
    else await ended;
  });
  await refused(cell, id, 'a disabled device');
  await registry.update({ ...identity, status: 'enabled' });
  await cell.using(id, async (client) => {
    const ended = new Promise((resolve) => client.once('disconnect', resolve));
    await client.sendEvent(new Message('{}'));
    await registry.delete(id.deviceId);
    if (cell.https) await assert.rejects(client.sendEvent(new Message('{}')), { name: 'UnauthorizedError' });
    else await ended;
  });
  await refused(cell, id, 'a deleted device');
  assert.equal((await cell.hub.telemetry(id.deviceId, 2)).length, 2);
}

async function D3(cell) {
  const id = await cell.identity();
  const m = new Message(JSON.stringify({ ok: true }));
  m.messageId = 'message 1';
  m.correlationId = 'correlation/1';
  m.contentType = 'application/json';
  m.contentEncoding = 'utf-8';
  // Over HTTPS properties are headers: their names have letters and no case.
  const properties = cell.https ? { plain: 'value', alarm: 'a b&c=d/e' } : { plain: 'value', 'with space': 'a b', 'a&b': 'c=d', 'x/y': '1/2 & 3=4', ünï: 'cødé %41' };
  for (const [k, v] of Object.entries(properties)) m.properties.add(k, v);
  const n = 20;
  await cell.using(id, async (client) => {
    await client.sendEvent(m);
    await client.sendEvent(new Message(''));
    await client.sendEvent(new Message(Buffer.alloc(LARGEST, 0x61)));
    await assert.rejects(client.sendEvent(new Message(Buffer.alloc(256 * 1024 + 1, 0x61))), { name: 'MessageTooLargeError' });
    await client.sendEvent(new Message('"after"'));
    if (!cell.https) await Promise.all(Array.from({ length: n }, (_, i) => client.sendEvent(new Message(JSON.stringify({ i })))));
  });
  const [event] = await until('its copy among the events', () => {
    const all = cell.hub.log(id.deviceId, 'gemello.events').filter((r) => r.headers['iothub-message-source'] === 'Telemetry');
    return all.length > 0 && all;
  });
  assert.deepEqual(event.value, { ok: true });
  const { 'iothub-enqueuedtime': enqueued, 'iothub-connection-auth-method': auth, ...headers } = event.headers;
  assert.ok(+enqueued > 0);
  assert.deepEqual(JSON.parse(auth), {
    scope: 'device', type: cell.kind.type, issuer: cell.kind.type === 'x509' ? 'external' : 'iothub', acceptingIpFilterRule: null,
  });
  assert.deepEqual(headers, {
    'iothub-connection-device-id': id.deviceId, 'iothub-connection-auth-generation-id': id.generationId, 'iothub-message-source': 'Telemetry',
    'message-id': 'message 1', 'correlation-id': 'correlation/1', 'content-type': 'application/json', 'content-encoding': 'utf-8', ...properties,
  });

  const [first, empty, large, after, ...rest] = await cell.hub.telemetry(id.deviceId, cell.https ? 4 : 4 + n);
  assert.deepEqual(first.value, { ok: true });
  assert.deepEqual(bag(first), {
    ...properties, '$.mid': 'message 1', '$.cid': 'correlation/1', '$.ct': 'application/json', '$.ce': 'utf-8',
  });
  assert.ok(empty.value === '' || empty.value === null, JSON.stringify(empty.value));
  assert.equal(large.value.length, LARGEST);
  assert.equal(after.value, 'after');
  assert.deepEqual(rest.map((r) => r.value.i), cell.https ? [] : Array.from({ length: n }, (_, i) => i), 'messages keep their order');
}

async function D4(cell) {
  const id = await cell.identity();
  const batch = [1, 2, 3].map((n) => {
    const m = new Message(JSON.stringify({ n }));
    m.properties.add('Number', `${n}`);
    return m;
  });
  await cell.using(id, (client) => client.sendEventBatch(batch));
  const records = await cell.hub.telemetry(id.deviceId, 3);
  assert.deepEqual(records.map((r) => r.value.n), [1, 2, 3]);
  assert.deepEqual(records.map((r) => bag(r).Number), ['1', '2', '3']);
}

module.exports = { D1, D2, D3, D4 };
