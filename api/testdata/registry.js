// Runs the unmodified azure-iothub Registry against a hub: node registry.js CONNECTION_STRING
// Prints "ok NAME" for every step and ends with status 1 at the first that fails.
const assert = require('assert');
const { Registry } = require('azure-iothub');

async function main(connectionString) {
  const registry = Registry.fromConnectionString(connectionString);
  const step = (name) => console.log('ok', name);
  const fails = async (promise, name) => {
    try {
      await promise;
    } catch (e) {
      assert.strictEqual(e.name, name, `${e.name}: ${e.message}`);
      return;
    }
    assert.fail('no ' + name);
  };

  const created = (await registry.create({ deviceId: 'node:1@x' })).responseBody;
  assert.ok(created.authentication.symmetricKey.primaryKey.length >= 24);
  assert.strictEqual(created.status, 'enabled');
  step('create');

  await fails(registry.create({ deviceId: 'node:1@x' }), 'DeviceAlreadyExistsError');
  step('create again');

  const got = (await registry.get('node:1@x')).responseBody;
  assert.strictEqual(got.authentication.symmetricKey.primaryKey, created.authentication.symmetricKey.primaryKey);
  step('get');

  const updated = (await registry.update({ deviceId: 'node:1@x', status: 'disabled', statusReason: 'test' })).responseBody;
  assert.strictEqual(updated.status, 'disabled');
  assert.strictEqual(updated.authentication.symmetricKey.primaryKey, created.authentication.symmetricKey.primaryKey);
  step('update');

  await registry.update(Object.assign({}, updated, { status: 'enabled' }));
  step('update what was read');

  await fails(registry.update({ deviceId: 'nobody', etag: 'x' }), 'DeviceNotFoundError');
  step('update of an unknown device');

  const list = (await registry.list()).responseBody;
  assert.deepStrictEqual(list.map((d) => d.deviceId), ['node:1@x']);
  step('list');

  const statistics = (await registry.getRegistryStatistics()).responseBody;
  assert.strictEqual(statistics.totalDeviceCount, 1);
  step('statistics');

  let bulk = (await registry.addDevices([{ deviceId: 'b1' }, { deviceId: 'b2', tags: { site: 'a' } }])).responseBody;
  assert.strictEqual(bulk.isSuccessful, true);
  bulk = (await registry.updateDevices([{ deviceId: 'b1', status: 'disabled' }], true)).responseBody;
  assert.strictEqual(bulk.isSuccessful, true);
  assert.strictEqual((await registry.get('b1')).responseBody.status, 'disabled');
  bulk = (await registry.removeDevices([{ deviceId: 'b1' }, { deviceId: 'b2' }], true)).responseBody;
  assert.strictEqual(bulk.isSuccessful, true);
  step('bulk');

  const twin = (await registry.getTwin('node:1@x')).responseBody;
  assert.strictEqual(twin.properties.desired.$version, 1);
  const patched = (await registry.updateTwin('node:1@x', { tags: { site: 'a' }, properties: { desired: { rate: 5 } } }, twin.etag)).responseBody;
  assert.strictEqual(patched.properties.desired.rate, 5);
  assert.strictEqual(patched.properties.desired.$version, 2);
  await fails(registry.updateTwin('node:1@x', { tags: { site: 'b' } }, 'abc'), 'InvalidEtagError');
  await patched.update({ properties: { desired: null } });
  assert.strictEqual((await registry.getTwin('node:1@x')).responseBody.properties.desired.rate, undefined);
  step('twin');

  await registry.delete('node:1@x');
  await fails(registry.get('node:1@x'), 'DeviceNotFoundError');
  await fails(registry.delete('node:1@x'), 'DeviceNotFoundError');
  step('delete');

  const wrong = connectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=' + Buffer.from('another key of 32 bytes, no more').toString('base64'));
  await fails(Registry.fromConnectionString(wrong).get('x'), 'UnauthorizedError');
  step('wrong key');
}

main(process.argv[2]).then(
  () => process.exit(0),
  (e) => { console.error(e); process.exit(1); });
