'use strict';
// S3 and S4: edge devices and their children, modules.
const assert = require('node:assert/strict');
const { collect } = require('../collect.js');
const { main, fresh } = require('../hub.js');

const { rows, row } = collect();

row('S4', 'modules are added, listed, updated and removed', async () => {
  const r = await main.registry();
  const { deviceId } = await main.createDevice('s4');
  assert.deepEqual((await r.getModulesOnDevice(deviceId)).responseBody, []);
  const moduleId = fresh("s4:m.b%c_d*e?f!g(h),i=j@k;$l'");
  const added = await r.addModule({ deviceId, moduleId, managedBy: 'fleet' });
  assert.equal(added.httpResponse.statusCode, 201);
  const made = added.responseBody;
  assert.equal(made.moduleId, moduleId);
  assert.equal(made.managedBy, 'fleet');
  assert.ok(!('status' in made), 'a module has no status of its own');
  await assert.rejects(r.addModule({ deviceId, moduleId }), { name: 'DeviceAlreadyExistsError' });
  await assert.rejects(r.addModule({ deviceId: fresh('nobody'), moduleId }), { name: 'DeviceNotFoundError' });

  const got = (await r.getModule(deviceId, moduleId)).responseBody;
  assert.deepEqual(got.authentication, made.authentication);
  await r.addModule({ deviceId, moduleId: 'other' });
  const listed = (await r.getModulesOnDevice(deviceId)).responseBody.map((m) => m.moduleId).sort();
  assert.deepEqual(listed, ['other', moduleId].sort());

  const updated = await r.updateModule({ ...got, managedBy: 'other fleet' });
  assert.equal(updated.httpResponse.statusCode, 200);
  assert.equal(updated.responseBody.managedBy, 'other fleet');
  assert.equal(updated.responseBody.generationId, made.generationId);
  await assert.rejects(r.updateModule({ ...got, managedBy: 'stale' }), { name: 'InvalidEtagError' });
  await r.updateModule({ ...got, managedBy: 'forced' }, true);
  assert.equal((await r.getModule(deviceId, moduleId)).responseBody.managedBy, 'forced');

  // The SDK makes no promise of this one.
  const removed = new Promise((resolve, reject) => r.removeModule(got, (e) => (e ? reject(e) : resolve())));
  await assert.rejects(removed, { name: 'InvalidEtagError' });
  assert.equal((await r.removeModule(deviceId, moduleId)).httpResponse.statusCode, 204);
  await assert.rejects(r.getModule(deviceId, moduleId), /Not found/i);
  await assert.rejects(r.removeModule(deviceId, moduleId), /Not found/i);
  await r.delete(deviceId);
  await assert.rejects(r.getModulesOnDevice(deviceId), { name: 'DeviceNotFoundError' });
});

row('S3', 'an edge device has a scope that is fixed; its children name it', async () => {
  const r = await main.registry();
  const edge = (await r.create({ deviceId: fresh('s3-edge'), capabilities: { iotEdge: true } })).responseBody;
  assert.match(edge.deviceScope, /^ms-azure-iot-edge:\/\//);
  const leaf = (await r.create({ deviceId: fresh('s3-leaf'), deviceScope: edge.deviceScope })).responseBody;
  assert.equal(leaf.deviceScope, edge.deviceScope);
  assert.deepEqual(leaf.parentScopes, [edge.deviceScope]);
  const nested = (await r.create({ deviceId: fresh('s3-nested'), capabilities: { iotEdge: true }, parentScopes: [edge.deviceScope] })).responseBody;
  assert.notEqual(nested.deviceScope, edge.deviceScope);
  assert.deepEqual(nested.parentScopes, [edge.deviceScope]);

  const unknown = `ms-azure-iot-edge://${fresh('nobody')}-638000000000000000`;
  for (const deviceScope of [unknown, 'anything']) {
    await assert.rejects(r.update({ ...leaf, deviceScope }), { name: 'ArgumentError' });
    await assert.rejects(r.update({ ...edge, deviceScope }), { name: 'ArgumentError' });
    await assert.rejects(r.create({ deviceId: fresh('s3-lost'), deviceScope }), { name: 'ArgumentError' });
  }
  // A whole object that comes back changes nothing but what was changed in it.
  const got = (await r.get(edge.deviceId)).responseBody;
  const same = (await r.update({ ...got, statusReason: 'seen' })).responseBody;
  assert.equal(same.deviceScope, edge.deviceScope);
  const free = (await r.update({ deviceId: leaf.deviceId, deviceScope: '' })).responseBody;
  assert.equal(free.deviceScope, '');
  assert.deepEqual(free.parentScopes, []);
});

module.exports = rows;
