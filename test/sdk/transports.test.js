'use strict';
// The device SDK over HTTPS and over MQTT through a WebSocket (azure-iot-wire 13.1, H and MW).
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Client, Message } = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');
const { MqttWs } = require('azure-iot-device-mqtt');
const { gemello, createDevice, registry, report, strict, telemetry, until, using } = require('./hub.js');

const over = (device, transport) => strict(Client.fromConnectionString(device.connectionString, transport));

function bag(record) {
  const pairs = (record.headers.props ?? '').split('&').filter(Boolean);
  return Object.fromEntries(pairs.map((p) => p.split('=').map(decodeURIComponent)));
}

async function queued(id) {
  return JSON.parse(await gemello('command', 'list', id)).commands;
}

/** Messages of a client that polls often, until f has seen what it wants. */
async function receiving(client, f) {
  const got = [];
  client.on('message', (m) => got.push(m));
  await f(got);
  client.removeAllListeners('message');
}

test('D3 http: body, ids, content type and properties arrive', async () => {
  const device = await createDevice('http-d3');
  const m = new Message('{"t":1}');
  m.messageId = 'message 1';
  m.correlationId = 'c/1';
  m.contentType = 'application/json';
  m.contentEncoding = 'utf-8';
  m.properties.add('alarm', 'a b&c=d/e');
  await using(over(device, Http), async (client) => {
    await client.sendEvent(m);
    await client.sendEvent(new Message(''));
  });
  const [record, empty] = await telemetry(device.deviceId);
  assert.deepEqual(record.value, { t: 1 });
  const got = bag(record);
  assert.equal(got['$.mid'], 'message 1');
  assert.equal(got['$.cid'], 'c/1');
  assert.equal(got['$.ct'], 'application/json');
  assert.equal(got['$.ce'], 'utf-8');
  assert.equal(got.alarm, 'a b&c=d/e');
  assert.equal(record.headers.auth, 'device;sas');
  assert.ok(empty, 'an empty body is a message');
});

test('D4 http: a batch arrives in order, with properties', async () => {
  const device = await createDevice('http-d4');
  const batch = [1, 2, 3].map((n) => {
    const m = new Message(JSON.stringify({ n }));
    m.properties.add('Number', `${n}`);
    return m;
  });
  await using(over(device, Http), (client) => client.sendEventBatch(batch));
  const records = await telemetry(device.deviceId);
  assert.deepEqual(records.map((r) => r.value.n), [1, 2, 3]);
  assert.deepEqual(records.map((r) => bag(r).Number), ['1', '2', '3']);
});

test('D2 http: a wrong key is Unauthorized', async () => {
  const device = await createDevice('http-d2');
  const wrong = device.connectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=d3Jvbmcga2V5IHdyb25nIGtleQ==');
  const client = strict(Client.fromConnectionString(wrong, Http));
  try {
    await assert.rejects(client.sendEvent(new Message('x')), { name: 'UnauthorizedError' });
  } finally {
    await client.close().catch(() => {});
  }
});

test('D5 and D6 http: complete, abandon and reject', async () => {
  const device = await createDevice('http-d5');
  const id = device.deviceId;
  await gemello('command', 'send', id, '--body', 'one', '--message-id', 'm1', '--property', 'k=v');
  const client = over(device, Http);
  await client.setOptions({ http: { receivePolicy: { interval: 1 } } });
  await using(client, async () => {
    await receiving(client, async (got) => {
      await until('the message', () => got.length === 1);
      assert.equal(got[0].data.toString(), 'one');
      assert.equal(got[0].messageId, 'm1');
      await client.abandon(got[0]);
      await until('the message again', () => got.length === 2);
      assert.equal(got[1].data.toString(), 'one');
      await client.complete(got[1]);
      assert.equal((await queued(id)).length, 0);
      await gemello('command', 'send', id, '--body', 'two');
      await until('the second message', () => got.length === 3);
      await client.reject(got[2]);
      assert.equal((await queued(id)).length, 0);
      await assert.rejects(client.complete(got[2]), 'a lock is good for one outcome');
    });
  });
});

test('D1 and D3 mqtt-ws: a device opens and sends, the largest message too', async () => {
  const device = await createDevice('ws-d3');
  const m = new Message('{"t":1}');
  m.properties.add('a b', 'c=d&e/f');
  await using(over(device, MqttWs), async (client) => {
    await client.sendEvent(m);
    await client.sendEvent(new Message(Buffer.alloc(262111, 0x61)));
  });
  const [record, large] = await telemetry(device.deviceId);
  assert.equal(bag(record)['a b'], 'c=d&e/f');
  assert.equal(large.value.length, 262111);
});

test('D2 mqtt-ws: a wrong key is Unauthorized', async () => {
  const device = await createDevice('ws-d2');
  const wrong = device.connectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=d3Jvbmcga2V5IHdyb25nIGtleQ==');
  const client = strict(Client.fromConnectionString(wrong, MqttWs));
  try {
    await assert.rejects(client.open(), { name: 'UnauthorizedError' });
  } finally {
    await client.close().catch(() => {});
  }
});

test('D5 mqtt-ws: messages arrive and are completed', async () => {
  const device = await createDevice('ws-d5');
  const id = device.deviceId;
  await gemello('command', 'send', id, '--body', 'x'.repeat(40000));
  await using(over(device, MqttWs), async (client) => {
    await receiving(client, async (got) => {
      await until('the message', () => got.length === 1);
      assert.equal(got[0].data.length, 40000);
      await client.complete(got[0]);
      await until('an empty queue', async () => (await queued(id)).length === 0);
    });
  });
});

test('D7 mqtt-ws: twin, desired change and reported properties', async () => {
  const device = await createDevice('ws-d7');
  await using(over(device, MqttWs), async (client) => {
    const twin = await client.getTwin();
    let seen;
    twin.on('properties.desired', (d) => { seen = d; });
    await report(twin, { a: 1 });
    const remote = (await (await registry()).getTwin(device.deviceId)).responseBody;
    assert.equal(remote.properties.reported.a, 1);
    await (await registry()).updateTwin(device.deviceId, { properties: { desired: { b: 2 } } }, '*');
    await until('the desired change', () => seen?.b === 2);
  });
});
