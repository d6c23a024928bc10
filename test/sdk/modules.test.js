'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ModuleClient, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Client: ServiceClient } = require('azure-iothub');
const { createDevice, fresh, gemello, host, policy, registry, report, strict, telemetry, until, using } = require('./hub.js');

/** Creates a device with a module and returns the module with its client. */
async function createModule(name, more = {}) {
  const r = await registry();
  const device = await createDevice(name);
  const made = (await r.addModule({ deviceId: device.deviceId, moduleId: fresh('m'), ...more })).responseBody;
  const key = made.authentication.symmetricKey.primaryKey;
  const connectionString = `HostName=${host};DeviceId=${made.deviceId};ModuleId=${made.moduleId};SharedAccessKey=${key}`;
  return { ...made, connectionString };
}

function clientOf(module) {
  return ModuleClient.fromConnectionString(module.connectionString, Mqtt);
}

async function moduleTwin(m) {
  return (await (await registry()).getModuleTwin(m.deviceId, m.moduleId)).responseBody;
}

/** Bare etag, for the SDK quotes what it is given. */
const bare = (etag) => etag.replace(/"/g, '');

test('S4: modules are added, listed, updated and removed', async () => {
  const r = await registry();
  const { deviceId } = await createDevice('s4');
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

test("S5, S6: a module's twin is its own; stale etags are refused", async () => {
  const r = await registry();
  const m = await createModule('s5');
  const twin = await moduleTwin(m);
  assert.equal(twin.moduleId, m.moduleId);
  assert.equal(twin.properties.desired.$version, 1);
  const patch = { tags: { site: 'a', gone: 1 }, properties: { desired: { rate: 5, deep: { a: 1, b: 2 } } } };
  const patched = (await r.updateModuleTwin(m.deviceId, m.moduleId, patch, bare(twin.etag))).responseBody;
  assert.equal(patched.properties.desired.rate, 5);
  assert.equal(patched.properties.desired.$version, 2);
  for (const stale of ['abc', bare(twin.etag)]) {
    await assert.rejects(r.updateModuleTwin(m.deviceId, m.moduleId, { tags: { site: 'b' } }, stale), { name: 'InvalidEtagError' });
  }
  // S6: through the Twin object, with its own etag; null removes.
  const object = (await r.getModuleTwin(m.deviceId, m.moduleId)).responseBody;
  await object.update({ tags: { gone: null }, properties: { desired: { deep: { a: null } } } });
  const after = await moduleTwin(m);
  assert.deepEqual(after.tags, { site: 'a' });
  assert.deepEqual(after.properties.desired.deep, { b: 2 });
  assert.equal(after.properties.desired.$version, 3);
  const any = (await r.updateModuleTwin(m.deviceId, m.moduleId, { tags: null }, '*')).responseBody;
  assert.deepEqual(any.tags ?? {}, {});
  assert.equal((await r.getTwin(m.deviceId)).responseBody.properties.desired.rate, undefined, "the device's twin changed");
  await assert.rejects(r.getModuleTwin(m.deviceId, 'nobody'), /Not found/i);
});

test('D17: a module sends telemetry under its own name', async () => {
  const m = await createModule('d17');
  await using(clientOf(m), async (client) => {
    const message = new Message(JSON.stringify({ n: 1 }));
    message.messageId = 'one';
    message.properties.add('a b', 'c&d=e/f');
    await client.sendEvent(message);
    await client.sendOutputEvent('results', new Message('{"n":2}'));
  });
  const [one, two] = await telemetry(m.deviceId);
  for (const r of [one, two]) assert.equal(r.headers.module, m.moduleId);
  assert.match(one.headers.props, /a%20b=c%26d%3De%2Ff/);
  assert.match(two.headers.props, /results/);
});

test('D17: a module has its own twin', async () => {
  const m = await createModule('d17-twin');
  const r = await registry();
  await using(clientOf(m), async (client) => {
    const twin = await client.getTwin();
    const seen = new Promise((resolve) => twin.on('properties.desired', (d) => { if (d.rate) resolve(d); }));
    await r.updateModuleTwin(m.deviceId, m.moduleId, { properties: { desired: { rate: 7 } } }, '*');
    assert.deepEqual(await seen, { rate: 7, $version: 2 });
    await report(twin, { firmware: { version: '2' }, gone: 1 });
    await report(twin, { gone: null });
    const now = await moduleTwin(m);
    assert.deepEqual(now.properties.reported.firmware, { version: '2' });
    assert.equal(now.properties.reported.$version, 3);
    assert.equal(now.connectionState, 'Connected');
  });
  const device = (await r.getTwin(m.deviceId)).responseBody;
  assert.equal(device.properties.reported.$version, 1);
  await until('a disconnect', async () => (await moduleTwin(m)).connectionState === 'Disconnected');
});

test('D17: a module answers methods, of the SDK and of the command line', async () => {
  const m = await createModule('d17-method');
  const service = ServiceClient.fromConnectionString(await policy());
  await using(clientOf(m), async (client) => {
    client.onMethod('echo', (request, response) => response.send(207, { got: request.payload }));
    const call = (payload) => service.invokeDeviceMethod(m.deviceId, m.moduleId, { methodName: 'echo', payload });
    const { result } = await until('the subscription', () => call({ k: 1 }));
    assert.equal(result.status, 207);
    assert.deepEqual(result.payload, { got: { k: 1 } });
    const out = await gemello('method', 'invoke', m.deviceId, 'echo', '--module', m.moduleId, '--payload', '"x"', '--json');
    assert.deepEqual(JSON.parse(out), { status: 207, payload: { got: 'x' } });
  });
  const offline = service.invokeDeviceMethod(m.deviceId, m.moduleId, { methodName: 'echo', payload: null });
  await assert.rejects(offline, /Not found/i);
});

test('D17: a module whose device is disabled loses its connection', async () => {
  const m = await createModule('d17-cut');
  const r = await registry();
  await using(strict(clientOf(m)), async (client) => {
    const ended = new Promise((resolve) => client._transport.once('disconnect', resolve));
    await client.sendEvent(new Message('{}'));
    await r.update({ deviceId: m.deviceId, status: 'disabled' });
    await ended;
  });
  const again = strict(clientOf(m));
  await assert.rejects(again.open(), { name: 'UnauthorizedError' });
  again.removeAllListeners();
});

test('S3: an edge device has a scope that is fixed; its children name it', async () => {
  const r = await registry();
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
