'use strict';
// S8 and S18: statistics, rights of policies.
const assert = require('node:assert/strict');
const { SharedAccessSignature } = require('azure-iot-common');
const { Client: ServiceClient, JobClient, Registry } = require('azure-iothub');
const { collect } = require('../collect.js');
const { main, fresh, inSeconds } = require('../hub.js');

const { rows, row } = collect();

row('S8', 'statistics count devices, enabled and disabled', async () => {
  const r = await main.registry();
  const statistics = async () => (await r.getRegistryStatistics()).responseBody;
  const before = await statistics();
  const ids = [fresh('s8'), fresh('s8')];
  await r.create({ deviceId: ids[0] });
  await r.create({ deviceId: ids[1], status: 'disabled' });
  const more = (total, enabled, disabled) => ({
    ...before, totalDeviceCount: before.totalDeviceCount + total,
    enabledDeviceCount: before.enabledDeviceCount + enabled, disabledDeviceCount: before.disabledDeviceCount + disabled,
  });
  const counts = ({ totalDeviceCount, enabledDeviceCount, disabledDeviceCount }) => ({ totalDeviceCount, enabledDeviceCount, disabledDeviceCount });
  assert.deepEqual(counts(await statistics()), counts(more(2, 1, 1)));
  await r.update({ deviceId: ids[0], status: 'disabled' });
  assert.deepEqual(counts(await statistics()), counts(more(2, 0, 2)));
  for (const id of ids) await r.delete(id);
  assert.deepEqual(counts(await statistics()), counts(before));
});

const refused = { name: 'UnauthorizedError' };

// What each permission grants, by the built-in policies; true is allowed.
const rights = {
  iothubowner: { readDevice: true, writeDevice: true, readTwin: true, query: true, method: true, job: true, statistics: true, configuration: true },
  service: { readDevice: false, writeDevice: false, readTwin: true, query: true, method: true, job: true, statistics: false, configuration: false },
  registryRead: { readDevice: true, writeDevice: false, readTwin: false, query: false, method: false, job: false, statistics: true, configuration: false },
  registryReadWrite: { readDevice: true, writeDevice: true, readTwin: false, query: false, method: false, job: false, statistics: true, configuration: true },
  device: { readDevice: false, writeDevice: false, readTwin: false, query: false, method: false, job: false, statistics: false, configuration: false },
};

/** Calls of the SDK by what they need, all with one token or connection string. */
function calls(make, deviceId) {
  const [registry, service, jobs] = [make(Registry), make(ServiceClient), make(JobClient)];
  const configuration = fresh('s18').toLowerCase();
  return {
    readDevice: () => registry.get(deviceId),
    writeDevice: () => registry.update({ deviceId, statusReason: fresh('reason') }),
    readTwin: () => registry.getTwin(deviceId),
    query: () => registry.createQuery(`SELECT * FROM devices WHERE deviceId = '${deviceId}'`).next(),
    // It is offline, which only those are told who may ask.
    method: () => service.invokeDeviceMethod(deviceId, { methodName: 'm' }).catch((e) => {
      if (e.response?.headers['iothub-errorcode'] !== 'DeviceNotOnline') throw e;
    }),
    job: async () => {
      const id = fresh('s18-job');
      await jobs.scheduleTwinUpdate(id, "deviceId = 'nobody'", { etag: '*', tags: { a: 1 } }, new Date(Date.now() + 3600e3), 60);
      await jobs.cancelJob(id);
    },
    statistics: () => registry.getRegistryStatistics(),
    configuration: async () => {
      await registry.addConfiguration({ id: configuration, content: { deviceContent: { 'properties.desired.a': 1 } }, targetCondition: '', priority: 1 });
      await registry.removeConfiguration(configuration);
    },
  };
}

for (const [policy, allowed] of Object.entries(rights)) {
  row('S18', `a token of ${policy} may do what the policy grants, and no more`, async () => {
    const { deviceId } = await main.createDevice('s18');
    const token = await main.policyToken(policy);
    const all = calls((Class) => Class.fromSharedAccessSignature(token), deviceId);
    assert.deepEqual(Object.keys(all).sort(), Object.keys(allowed).sort());
    for (const [what, call] of Object.entries(all)) {
      if (allowed[what]) await call();
      else await assert.rejects(call(), refused, what);
    }
  });
}

row('S18', 'a connection string is good for the same as a token of its policy', async () => {
  const { deviceId } = await main.createDevice('s18-text');
  const text = await main.policy('registryRead');
  const all = calls((Class) => Class.fromConnectionString(text), deviceId);
  await all.readDevice();
  await assert.rejects(all.writeDevice(), refused);
  await assert.rejects(all.readTwin(), refused);
});

row('S18', 'wrong keys, expired tokens, tokens of devices and of unknown policies are refused', async () => {
  const device = await main.createDevice('s18-bad');
  const key = Buffer.alloc(32, 9).toString('base64');
  const owner = await main.policy();
  for (const text of [owner.replace(/SharedAccessKey=.*/, `SharedAccessKey=${key}`), owner.replace('iothubowner', 'nobody')]) {
    await assert.rejects(Registry.fromConnectionString(text).get(device.deviceId), refused);
  }
  for (const token of [
    await main.policyToken('iothubowner', '', inSeconds(-3600)),
    (await main.policyToken('registryRead')).replace('skn=registryRead', 'skn=iothubowner'),
  ]) await assert.rejects(Registry.fromSharedAccessSignature(token).get(device.deviceId), refused);
  // The SDK wants a policy's name in a token; a device's key is not that policy's.
  const own = SharedAccessSignature.create(main.host, 'iothubowner', device.authentication.symmetricKey.primaryKey, inSeconds(600)).toString();
  await assert.rejects(Registry.fromSharedAccessSignature(own).get(device.deviceId), refused);
});

row('S18', "tokens of Microsoft's directory are refused", async () => {
  const credential = { getToken: async () => ({ token: 'eyJhbGciOiJub25lIn0.e30.', expiresOnTimestamp: Date.now() + 3600e3 }) };
  const registry = Registry.fromTokenCredential(main.host, credential);
  await assert.rejects(registry.get('any'), refused);
});

module.exports = rows;
