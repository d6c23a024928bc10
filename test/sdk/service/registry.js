'use strict';
// S1 and S2: the registry of devices.
const assert = require('node:assert/strict');
const { collect } = require('../collect.js');
const { main, fresh } = require('../hub.js');

const { rows, row } = collect();

row('S1', 'create, get, update, list, delete', async () => {
  const r = await main.registry();
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

row('S1', 'an id with a slash is refused', async () => {
  await assert.rejects((await main.registry()).create({ deviceId: 'a/b' }), { name: 'ArgumentError' });
});

row('S1', 'keys that are given are kept', async () => {
  const r = await main.registry();
  const primaryKey = Buffer.alloc(32, 1).toString('base64');
  const secondaryKey = Buffer.alloc(32, 2).toString('base64');
  const deviceId = fresh('s1-keys');
  await r.create({ deviceId, authentication: { symmetricKey: { primaryKey, secondaryKey } } });
  const got = (await r.get(deviceId)).responseBody.authentication.symmetricKey;
  assert.deepEqual(got, { primaryKey, secondaryKey });
  await r.delete(deviceId);
});

row('S2', 'many devices are added, updated and removed at once', async () => {
  const r = await main.registry();
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

module.exports = rows;
