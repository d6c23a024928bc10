'use strict';
// Cloud-to-device messages over MQTT (azure-iot-wire 13.1, D5).
const { test } = require('node:test');
const assert = require('node:assert');
const { gemello, createDevice, clientOf, strict, until } = require('./hub.js');

async function queued(id) {
  return JSON.parse(await gemello('command', 'list', id)).commands;
}

test('D5 mqtt: messages queued before and after the subscription arrive in order and are completed', async () => {
  const device = await createDevice('c2d');
  const id = device.deviceId;
  await gemello('command', 'send', id, '--body', 'one', '--property', 'a b=c&d=/e', '--message-id', 'm 1', '--ack', 'full');
  await gemello('command', 'send', id, '--body', 'two');
  const client = strict(clientOf(device));
  const got = [];
  try {
    await client.open();
    client.on('message', (m) => {
      got.push(m);
      client.complete(m).catch(() => {});
    });
    await until('two messages', () => got.length >= 2);
    await gemello('command', 'send', id, '--body', 'three');
    await until('a third message', () => got.length >= 3);
  } finally {
    await client.close().catch(() => {});
  }
  assert.deepStrictEqual(got.map((m) => m.data.toString()), ['one', 'two', 'three']);
  assert.strictEqual(got[0].messageId, 'm 1');
  assert.strictEqual(got[0].properties.getValue('a b'), 'c&d=/e');
  await until('an empty queue', async () => (await queued(id)).length === 0);
});

test('a purge ends what is queued, and the 51st message is refused', async () => {
  const { deviceId: id } = await createDevice('c2d-full');
  for (let i = 0; i < 50; i++) await gemello('command', 'send', id, '--body', `${i}`);
  await assert.rejects(gemello('command', 'send', id, '--body', 'too many'), /50 commands wait/);
  assert.strictEqual((await queued(id)).length, 50);
  assert.strictEqual(JSON.parse(await gemello('command', 'purge', id)).totalMessagesPurged, 50);
  assert.strictEqual((await queued(id)).length, 0);
});
