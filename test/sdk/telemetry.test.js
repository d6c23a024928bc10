'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Message } = require('azure-iot-device');
const { clientOf, createDevice, telemetry, until, using } = require('./hub.js');

/** The property bag of a record, decoded. */
function bag(record) {
  const pairs = (record.headers.props ?? '').split('&').filter(Boolean);
  return Object.fromEntries(pairs.map((p) => p.split('=').map(decodeURIComponent)));
}

test('D1: a device opens with its connection string', async () => {
  const device = await createDevice('d1');
  await using(clientOf(device), async (client) => {
    await client.sendEvent(new Message('{"temperature":21.5}'));
  });
  const [record] = await telemetry(device.deviceId);
  assert.deepEqual(record.value, { temperature: 21.5 });
  assert.equal(record.headers.auth, 'device;sas');
  assert.equal(record.headers.gen, device.generationId);
});

test('D3: ids, content type, encoding and properties arrive as sent', async () => {
  const device = await createDevice('d3');
  const m = new Message(JSON.stringify({ ok: true }));
  m.messageId = 'message 1';
  m.correlationId = 'correlation/1';
  m.contentType = 'application/json';
  m.contentEncoding = 'utf-8';
  const properties = { plain: 'value', 'with space': 'a b', 'a&b': 'c=d', 'x/y': '1/2 & 3=4', ünï: 'cødé %41' };
  for (const [k, v] of Object.entries(properties)) m.properties.add(k, v);
  await using(clientOf(device), (client) => client.sendEvent(m));
  const [record] = await telemetry(device.deviceId);
  const got = bag(record);
  for (const [k, v] of Object.entries(properties)) assert.equal(got[k], v, k);
  assert.equal(got['$.mid'], 'message 1');
  assert.equal(got['$.cid'], 'correlation/1');
  assert.equal(got['$.ct'], 'application/json');
  assert.equal(got['$.ce'], 'utf-8');
});

test('D3: an empty body is a message', async () => {
  const device = await createDevice('d3-empty');
  await using(clientOf(device), (client) => client.sendEvent(new Message('')));
  const [record] = await telemetry(device.deviceId);
  assert.ok(record, 'no record');
  assert.ok(record.value === '' || record.value === null, JSON.stringify(record.value));
});

test('D3: a body of the largest size arrives whole, and the next message after it', async () => {
  const device = await createDevice('d3-large');
  const body = Buffer.alloc(262111, 0x61); // the largest that all SDKs send
  await using(clientOf(device), async (client) => {
    await client.sendEvent(new Message(body));
    await client.sendEvent(new Message('"after"'));
  });
  const [large, after] = await telemetry(device.deviceId);
  assert.equal(large.value.length, body.length);
  assert.equal(after.value, 'after');
});

test('D3: messages of one device keep their order', async () => {
  const device = await createDevice('d3-order');
  const n = 200;
  await using(clientOf(device), (client) =>
    Promise.all(Array.from({ length: n }, (_, i) => client.sendEvent(new Message(JSON.stringify({ i }))))));
  const got = await until('all messages', async () => {
    const all = await telemetry(device.deviceId);
    return all.length >= n && all;
  });
  assert.deepEqual(got.map((r) => r.value.i), Array.from({ length: n }, (_, i) => i));
});
