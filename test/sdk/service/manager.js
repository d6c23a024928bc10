'use strict';
// S17: the generated client of the registry.
const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { IoTHubTokenCredentials } = require('azure-iothub');
const { IoTHubRegistryManager } = require('azure-iothub/dist/cl/iothub_registry_manager');
const { collect } = require('../collect.js');
const { main, fresh, until, using } = require('../hub.js');

const { rows, row } = collect();

// The generated client takes no status but the ones that its operation names: a
// result here is a status that was exactly right.
async function manager() {
  return new IoTHubRegistryManager(new IoTHubTokenCredentials(await main.policy()));
}
const key = () => randomBytes(32).toString('base64');
const status = (result) => result._response.status;
const failsWith = (statusCode, code) => (e) => e.statusCode === statusCode && (!code || e.response.headers.get('iothub-errorcode') === code);

row('S17', 'devices with keys, thumbprints and a CA', async () => {
  const m = await manager();
  const [primary, secondary] = [key(), key()];
  const sas = await m.createDeviceWithSas(fresh('s17'), primary, secondary, true);
  assert.equal(status(sas), 200);
  assert.deepEqual(sas.authentication.symmetricKey, { primaryKey: primary, secondaryKey: secondary });
  const off = await m.createDeviceWithSas(fresh('s17-off'), '', '', false);
  assert.equal(off.status, 'disabled');
  assert.ok(off.authentication.symmetricKey.primaryKey);
  const thumbprints = ['A'.repeat(40), 'B'.repeat(64)];
  const x509 = await m.createDeviceWithX509(fresh('s17-x509'), ...thumbprints, true);
  assert.equal(x509.authentication.type, 'selfSigned');
  assert.deepEqual(Object.values(x509.authentication.x509Thumbprint), thumbprints);
  const edge = await m.createDeviceWithCertificateAuthority(fresh('s17-ca'), true, true);
  assert.equal(edge.authentication.type, 'certificateAuthority');
  assert.equal(edge.capabilities.iotEdge, true);

  await assert.rejects(m.createDeviceWithSas(sas.deviceId, primary, secondary, true), failsWith(409, 'DeviceAlreadyExists'));
  await assert.rejects(m.getDevice(fresh('nobody')), failsWith(404, 'DeviceNotFound'));
  await assert.rejects(m.createDeviceWithX509(fresh('s17-bad'), 'no hex', null, true), failsWith(400, 'ArgumentInvalid'));
  const got = await m.getDevice(sas.deviceId);
  assert.equal(status(got), 200);
  assert.equal(got.etag, sas.etag);
  const updated = await m.updateDevice(sas.deviceId, { deviceId: sas.deviceId, status: 'disabled', statusReason: 'x' });
  assert.equal(updated.status, 'disabled');
  assert.deepEqual(updated.authentication.symmetricKey, sas.authentication.symmetricKey);
  assert.ok((await m.getDevices(1000)).length >= 4);
  // It does not wait for the answer of a deletion, nor hand it on.
  m.deleteDevice(off.deviceId);
  await until('a deletion', () => m.getDevice(off.deviceId).then(() => false, failsWith(404)));
});

row('S17', 'modules', async () => {
  const m = await manager();
  const { deviceId } = await main.createDevice('s17-modules');
  const [primary, secondary] = [key(), key()];
  const sas = await m.createModuleWithSas(deviceId, 'sas', 'fleet', primary, secondary);
  assert.equal(status(sas), 201);
  assert.equal(sas.managedBy, 'fleet');
  assert.deepEqual(sas.authentication.symmetricKey, { primaryKey: primary, secondaryKey: secondary });
  assert.equal(status(await m.createModuleWithX509(deviceId, 'x509', '', 'A'.repeat(40), 'B'.repeat(40))), 201);
  assert.equal(status(await m.createModuleWithCertificateAuthority(deviceId, 'ca', '')), 201);
  const updated = await m.updateModule(deviceId, 'sas', { deviceId, moduleId: 'sas', managedBy: 'other' });
  assert.equal(status(updated), 200);
  assert.equal(updated.managedBy, 'other');
  assert.equal((await m.getModule(deviceId, 'ca')).authentication.type, 'certificateAuthority');
  assert.deepEqual((await m.getModules(deviceId)).map((x) => x.moduleId).sort(), ['ca', 'sas', 'x509']);
  await assert.rejects(m.createModuleWithSas(deviceId, 'sas', '', primary, secondary), failsWith(409, 'ModuleAlreadyExistsOnDevice'));
  await assert.rejects(m.getModule(deviceId, 'nobody'), failsWith(404, 'ModuleNotFound'));

  const twin = await m.getModuleTwin(deviceId, 'sas');
  const changed = await m.updateModuleTwin(deviceId, 'sas', { tags: { a: 1 } }, twin.etag);
  assert.equal(status(changed), 200);
  assert.deepEqual(changed.tags, { a: 1 });
  await assert.rejects(m.updateModuleTwin(deviceId, 'sas', { tags: { a: 2 } }, twin.etag), failsWith(412, 'PreconditionFailed'));
  const replaced = await m.replaceModuleTwin(deviceId, 'sas', { tags: { b: 2 }, properties: { desired: { c: 3 } } });
  assert.deepEqual(replaced.tags, { b: 2 });
  assert.equal(replaced.properties.desired.c, 3);
  m.deleteModule(deviceId, 'x509');
  await until('a deletion', () => m.getModule(deviceId, 'x509').then(() => false, failsWith(404)));
});

row('S17', 'twins are updated and replaced', async () => {
  const m = await manager();
  const { deviceId } = await main.createDevice('s17-twin');
  const first = await m.getTwin(deviceId);
  assert.equal(status(first), 200);
  const updated = await m.updateTwin(deviceId, { tags: { a: 1 }, properties: { desired: { x: 1, y: { z: 2 } } } }, first.etag);
  assert.equal(updated.properties.desired.$version, 2);
  await assert.rejects(m.updateTwin(deviceId, { tags: { a: 2 } }, first.etag), failsWith(412, 'PreconditionFailed'));
  await m.updateTwin(deviceId, { tags: { b: 1 } }, '*');
  const replaced = await m.replaceTwin(deviceId, { deviceId, tags: { only: true }, properties: { desired: { y: 1 } } });
  assert.equal(status(replaced), 200);
  assert.deepEqual(replaced.tags, { only: true });
  assert.ok(!('x' in replaced.properties.desired));
  assert.equal(replaced.properties.desired.$version, 3);
  await assert.rejects(m.replaceTwin(fresh('nobody'), { tags: {} }), failsWith(404, 'DeviceNotFound'));
  await assert.rejects(m.updateTwin(deviceId, { tags: { 'a.b': 1 } }, '*'), failsWith(400, 'ArgumentInvalid'));
});

row('S17', 'many devices at once, with the errors of each', async () => {
  const m = await manager();
  const ids = [fresh('s17-bulk'), fresh('s17-bulk')];
  const made = await m.bulkCreateOrUpdateDevices(ids.map((id) => ({ id, importMode: 'create', tags: { site: 'a' } })));
  assert.equal(status(made), 200);
  assert.deepEqual([made.isSuccessful, made.errors, made.warnings], [true, [], []]);
  assert.deepEqual((await m.getTwin(ids[1])).tags, { site: 'a' });
  // 400 comes with the result as its body.
  const again = await m.bulkCreateOrUpdateDevices([{ id: ids[0], importMode: 'create' }, { id: ids[1], importMode: 'delete' }]);
  assert.equal(status(again), 400);
  assert.equal(again.isSuccessful, false);
  assert.equal(again.errors.length, 1);
  assert.equal(again.errors[0].deviceId, ids[0]);
  assert.equal(again.errors[0].errorCode, 'DeviceAlreadyExists');
  await assert.rejects(m.getDevice(ids[1]), failsWith(404));
});

row('S17', 'statistics of the registry and of connections', async () => {
  const m = await manager();
  const before = await m.getDeviceRegistryStatistics();
  const d = await m.createDeviceWithSas(fresh('s17-count'), '', '', true);
  const after = await m.getDeviceRegistryStatistics();
  assert.equal(status(after), 200);
  assert.equal(after.totalDeviceCount, before.totalDeviceCount + 1);
  assert.equal(after.enabledDeviceCount, before.enabledDeviceCount + 1);
  assert.equal(after.totalDeviceCount, after.enabledDeviceCount + after.disabledDeviceCount);
  const { connectedDeviceCount: connected } = await m.getServiceStatistics();
  await using(Client.fromConnectionString(main.connectionString(d.deviceId, d.authentication.symmetricKey.primaryKey), Mqtt), async () => {
    await until('the count', async () => (await m.getServiceStatistics()).connectedDeviceCount === connected + 1);
  });
  await until('the count', async () => (await m.getServiceStatistics()).connectedDeviceCount === connected);
});

module.exports = rows;
