'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Client, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { clientOf, createDevice, records, registry, strict, telemetry, token, until, using } = require('./hub.js');

/** Resolves with the first desired properties for which f holds. */
function desired(twin, f) {
  return new Promise((resolve) => twin.on('properties.desired', (d) => { if (f(d)) resolve(d); }));
}

async function setDesired(deviceId, patch) {
  await (await registry()).updateTwin(deviceId, { properties: { desired: patch } }, '*');
}

/** How often the device has connected, by the log. */
async function connections(deviceId) {
  return (await records('gemello.device-log')).filter((r) => r.key === deviceId && r.headers.kind === 'connected').length;
}

test('D13: a token that the client renews by itself keeps messages and twin going', async () => {
  const device = await createDevice('d13');
  // Each token lives 4 s and is renewed after 2 s, on a new connection on which
  // the client does not subscribe again.
  const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(device.connectionString, 4, 2);
  await using(Client.fromAuthenticationProvider(provider, Mqtt), async (client) => {
    const twin = await client.getTwin();
    const first = desired(twin, (d) => d.n === 1);
    await setDesired(device.deviceId, { n: 1 });
    await first;
    await until('two renewals', async () => (await connections(device.deviceId)) >= 3);
    const second = desired(twin, (d) => d.n === 2);
    await setDesired(device.deviceId, { n: 2 });
    await second;
    await client.sendEvent(new Message('{"after":"renewal"}'));
  });
  assert.deepEqual((await telemetry(device.deviceId)).map((r) => r.value), [{ after: 'renewal' }]);
});

test('D13: a token that the application renews', async () => {
  const device = await createDevice('d13-app');
  const key = device.authentication.symmetricKey.primaryKey;
  const now = Math.floor(Date.now() / 1000);
  await using(Client.fromSharedAccessSignature(token(device.deviceId, key, now + 600), Mqtt), async (client) => {
    await client.sendEvent(new Message('1'));
    await client.updateSharedAccessSignature(token(device.deviceId, key, now + 1200));
    await client.sendEvent(new Message('2'));
  });
  assert.deepEqual((await telemetry(device.deviceId)).map((r) => r.value), [1, 2]);
});

test('D14: keep-alive and product information are accepted', async () => {
  const device = await createDevice('d14');
  const client = clientOf(device);
  await client.setOptions({ productInfo: 'gemello test (x; y) é/&=', keepalive: 30 });
  await using(client, (c) => c.sendEvent(new Message('{}')));
  assert.equal((await telemetry(device.deviceId)).length, 1);
});

test('D15: of two clients with one id the new one stays and the old one is told', async () => {
  const device = await createDevice('d15');
  await using(strict(clientOf(device)), async (old) => {
    const dropped = new Promise((resolve) => old.once('disconnect', resolve));
    await old.sendEvent(new Message('{"from":"old"}'));
    await using(strict(clientOf(device)), async (client) => {
      await dropped;
      await client.sendEvent(new Message('{"from":"new"}'));
      const state = (await (await registry()).get(device.deviceId)).responseBody.connectionState;
      assert.equal(state, 'Connected');
    });
  });
  assert.deepEqual((await telemetry(device.deviceId)).map((r) => r.value.from), ['old', 'new']);
});
