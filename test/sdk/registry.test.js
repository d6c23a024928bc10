'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Registry } = require('azure-iothub');
const { fresh, policy, registry } = require('./hub.js');

test('S1: create, get, update, list, delete', async () => {
  const r = await registry();
  const id = fresh("s1:a.b%c_d*e?f!g(h),i=j@k;$l'");
  const made = (await r.create({ deviceId: id })).responseBody;
  assert.equal(made.status, 'enabled');
  assert.ok(Buffer.from(made.authentication.symmetricKey.primaryKey, 'base64').length >= 16);
  await assert.rejects(r.create({ deviceId: id }), { name: 'DeviceAlreadyExistsError' });

  const got = (await r.get(id)).responseBody;
  assert.equal(got.deviceId, id);
  assert.deepEqual(got.authentication.symmetricKey, made.authentication.symmetricKey);

  const updated = (await r.update({ deviceId: id, status: 'disabled', statusReason: 'test' })).responseBody;
  assert.equal(updated.status, 'disabled');
  assert.equal(updated.generationId, made.generationId);
  assert.notEqual(updated.etag, made.etag);
  assert.deepEqual(updated.authentication.symmetricKey, made.authentication.symmetricKey);

  assert.ok((await r.list()).responseBody.some((d) => d.deviceId === id));
  await r.delete(id);
  await assert.rejects(r.get(id), { name: 'DeviceNotFoundError' });
  await assert.rejects(r.delete(id), { name: 'DeviceNotFoundError' });
  await assert.rejects(r.update({ deviceId: id, status: 'enabled', etag: 'x' }), { name: 'DeviceNotFoundError' });

  const again = (await r.create({ deviceId: id })).responseBody;
  assert.notEqual(again.generationId, made.generationId);
  await r.delete(id);
});

test('S1: an id with a slash is refused', async () => {
  await assert.rejects((await registry()).create({ deviceId: 'a/b' }), { name: 'ArgumentError' });
});

test('S1: keys that are given are kept', async () => {
  const r = await registry();
  const primaryKey = Buffer.alloc(32, 1).toString('base64');
  const secondaryKey = Buffer.alloc(32, 2).toString('base64');
  const deviceId = fresh('s1-keys');
  await r.create({ deviceId, authentication: { symmetricKey: { primaryKey, secondaryKey } } });
  const got = (await r.get(deviceId)).responseBody.authentication.symmetricKey;
  assert.deepEqual(got, { primaryKey, secondaryKey });
  await r.delete(deviceId);
});

test('S2: many devices are added, updated and removed at once', async () => {
  const r = await registry();
  const ids = Array.from({ length: 100 }, () => fresh('s2'));
  const added = (await r.addDevices(ids.map((deviceId) => ({ deviceId })))).responseBody;
  assert.equal(added.isSuccessful, true);
  assert.deepEqual(added.errors, []);

  // A result with errors comes with status 400, which the SDK makes an error.
  await assert.rejects(r.addDevices([{ deviceId: ids[0] }]), { name: 'ArgumentError', message: /DeviceAlreadyExists/ });

  const updated = (await r.updateDevices(ids.map((deviceId) => ({ deviceId, status: 'disabled' })), true)).responseBody;
  assert.equal(updated.isSuccessful, true);
  assert.equal((await r.get(ids[99])).responseBody.status, 'disabled');

  const removed = (await r.removeDevices(ids.map((deviceId) => ({ deviceId })), true)).responseBody;
  assert.equal(removed.isSuccessful, true);
  await assert.rejects(r.get(ids[0]), { name: 'DeviceNotFoundError' });
});

test('S5: a twin is changed from the service; a stale etag is refused', async () => {
  const r = await registry();
  const deviceId = fresh('s5');
  await r.create({ deviceId });
  const twin = (await r.getTwin(deviceId)).responseBody;
  const patched = (await r.updateTwin(deviceId, { tags: { site: 'a' }, properties: { desired: { rate: 5 } } }, twin.etag)).responseBody;
  assert.equal(patched.tags.site, 'a');
  assert.equal(patched.properties.desired.rate, 5);
  for (const stale of ['abc', twin.etag]) {
    await assert.rejects(r.updateTwin(deviceId, { tags: { site: 'b' } }, stale), { name: 'InvalidEtagError' });
  }
  await r.updateTwin(deviceId, { tags: { site: null } }, '*');
  assert.equal((await r.getTwin(deviceId)).responseBody.tags?.site, undefined);
  await r.delete(deviceId);
});

test('S8: statistics count devices', async () => {
  const r = await registry();
  const deviceId = fresh('s8');
  const before = (await r.getRegistryStatistics()).responseBody.totalDeviceCount;
  await r.create({ deviceId });
  assert.equal((await r.getRegistryStatistics()).responseBody.totalDeviceCount, before + 1);
  await r.delete(deviceId);
});

test('S18: a wrong key of a policy is refused', async () => {
  const wrong = (await policy()).replace(/SharedAccessKey=.*/, `SharedAccessKey=${Buffer.alloc(32, 9).toString('base64')}`);
  await assert.rejects(Registry.fromConnectionString(wrong).get('x'), { name: 'UnauthorizedError' });
});
