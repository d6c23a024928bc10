'use strict';
// S9: configurations.
const assert = require('node:assert/strict');
const { collect } = require('../collect.js');
const { main, fresh, until } = require('../hub.js');

const { rows, row } = collect();

row('S9', 'add, get, list, update, force, remove', async () => {
  const r = await main.registry();
  const id = fresh('s9').toLowerCase();
  const device = fresh('s9-device');
  await r.create({ deviceId: device });
  const configuration = {
    id, schemaVersion: '1.0', labels: { a: 'b' }, priority: 10, targetCondition: `deviceId='${device}'`,
    content: { deviceContent: { 'properties.desired.net': { rate: 5 } } },
    metrics: { queries: { mine: `SELECT deviceId FROM devices WHERE configurations.[[${id}]].status = 'Applied'` } },
  };
  const made = (await r.addConfiguration(configuration)).responseBody;
  assert.equal(made.id, id);
  assert.deepEqual(made.content, configuration.content);
  await until('the configuration is applied', async () => (await r.getTwin(device)).responseBody.properties.desired.net?.rate === 5);
  const got = (await r.getConfiguration(id)).responseBody;
  assert.equal(got.systemMetrics.results.targetedCount, 1);
  assert.equal(got.systemMetrics.results.appliedCount, 1);
  assert.equal(got.metrics.results.mine, 1);
  assert.deepEqual((await r.getTwin(device)).responseBody.configurations, { [id]: { status: 'Applied' } });
  assert.ok((await r.getConfigurations()).responseBody.some((c) => c.id === id));

  got.priority = 11;
  const updated = (await r.updateConfiguration(got)).responseBody;
  assert.equal(updated.priority, 11);
  got.priority = 12;
  await assert.rejects(r.updateConfiguration(got), { name: 'InvalidEtagError' });
  assert.equal((await r.updateConfiguration(got, true)).responseBody.priority, 12);

  await r.removeConfiguration(id);
  await assert.rejects(r.getConfiguration(id));
  await until('what it has set is removed', async () => (await r.getTwin(device)).responseBody.properties.desired.net === undefined);
  await r.delete(device);
});

row('S9', 'applyConfigurationContentOnDevice', async () => {
  const r = await main.registry();
  const id = fresh('s9-edge');
  await r.create({ deviceId: id, capabilities: { iotEdge: true } });
  await r.applyConfigurationContentOnDevice(id, { modulesContent: { mine: { 'properties.desired.a': 1 } } });
  assert.equal((await r.getModuleTwin(id, 'mine')).responseBody.properties.desired.a, 1);
  await r.delete(id);
});

row('S9', 'modulesContent keeps the modules of edge devices', async () => {
  const r = await main.registry();
  const id = fresh('s9-deployment').toLowerCase();
  const device = fresh('s9-edge');
  await r.create({ deviceId: device, capabilities: { iotEdge: true } });
  await r.addConfiguration({
    id, schemaVersion: '1.0', labels: {}, priority: 10, targetCondition: `deviceId='${device}'`,
    content: { modulesContent: { $edgeAgent: { 'properties.desired': { runtime: 'docker' } }, mine: { 'properties.desired.a': 1 } } },
  });
  await until('the modules are there', async () => (await r.getModulesOnDevice(device)).responseBody.length === 2);
  await until('the configuration is applied', async () => (await r.getModuleTwin(device, 'mine')).responseBody.properties.desired.a === 1);
  assert.equal((await r.getModuleTwin(device, '$edgeAgent')).responseBody.properties.desired.runtime, 'docker');
  assert.equal((await r.getConfiguration(id)).responseBody.systemMetrics.results.appliedCount, 1);
  await r.removeConfiguration(id);
  await until('what it has set is removed', async () => (await r.getModuleTwin(device, 'mine')).responseBody.properties.desired.a === undefined);
  await r.delete(device);
});

module.exports = rows;
