'use strict';
const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { test } = require('node:test');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { clientOf, connectionString, createDevice, fresh, registry, strict, telemetry, token, until, using } = require('./hub.js');

const key = () => randomBytes(32).toString('base64');
const soon = (seconds) => Math.floor(Date.now() / 1000) + seconds;

/** Opening must be refused as the SDK's UnauthorizedError, at once. */
async function refused(client) {
  const began = Date.now();
  await assert.rejects(strict(client).open(), { name: 'UnauthorizedError' });
  assert.ok(Date.now() - began < 20000, 'a refusal took 20 s or more');
  client.removeAllListeners();
}

test('D1: a device opens with a token of its own', async () => {
  const device = await createDevice('d1-token');
  const sas = token(device.deviceId, device.authentication.symmetricKey.secondaryKey, soon(600));
  await using(Client.fromSharedAccessSignature(sas, Mqtt), (client) => client.sendEvent(new Message('{}')));
  assert.equal((await telemetry(device.deviceId)).length, 1);
});

test('D2: a wrong key is refused', async () => {
  const device = await createDevice('d2-key');
  await refused(clientOf(connectionString(device.deviceId, key())));
});

test('D2: an unknown device is refused', async () => {
  await refused(clientOf(connectionString(fresh('nobody'), key())));
});

test('D2: a disabled device is refused until it is enabled again', async () => {
  const device = await createDevice('d2-disabled', { status: 'disabled' });
  await refused(clientOf(device));
  await (await registry()).update({ deviceId: device.deviceId, status: 'enabled' });
  await using(clientOf(device), (client) => client.sendEvent(new Message('{}')));
});

test('D2: disabling a device ends its connection', async () => {
  const device = await createDevice('d2-live');
  await using(strict(clientOf(device)), async (client) => {
    const ended = new Promise((resolve) => client.once('disconnect', resolve));
    await client.sendEvent(new Message('{}'));
    await (await registry()).update({ deviceId: device.deviceId, status: 'disabled' });
    await ended;
  });
  await refused(clientOf(device));
});

test('D2: an expired token is refused', async () => {
  const device = await createDevice('d2-expired');
  const sas = token(device.deviceId, device.authentication.symmetricKey.primaryKey, soon(-3600));
  await refused(Client.fromSharedAccessSignature(sas, Mqtt));
});

test('D2: a token of another device is refused', async () => {
  const one = await createDevice('d2-one');
  const other = await createDevice('d2-other');
  const sas = token(one.deviceId, other.authentication.symmetricKey.primaryKey, soon(600));
  await refused(Client.fromSharedAccessSignature(sas, Mqtt));
});

test('D2: a deleted device loses its connection and is refused', async () => {
  const device = await createDevice('d2-deleted');
  await using(strict(clientOf(device)), async (client) => {
    const ended = new Promise((resolve) => client.once('disconnect', resolve));
    await (await registry()).delete(device.deviceId);
    await ended;
  });
  await refused(clientOf(device));
  assert.ok(await until('an empty log of the device', async () => (await telemetry(device.deviceId)).length === 0));
});
