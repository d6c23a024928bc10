'use strict';
// D17 and D18: clients of modules.
const assert = require('node:assert/strict');
const { ModuleClient, Message } = require('azure-iot-device');
const { bag, desired, report, until } = require('../hub.js');

/** The SDK itself refuses certificates in a module's connection string; the
 * module of the row has a provider of the application's own then. */
function refusesCertificates(cell, id) {
  const text = `HostName=${cell.hub.host};DeviceId=${id.deviceId};ModuleId=${id.moduleId};x509=true`;
  assert.throws(() => ModuleClient.fromConnectionString(text, cell.Transport), { name: 'NotImplementedError', message: /only supports SAS/ });
}

async function D17(cell) {
  const id = await cell.identity({ module: true });
  const registry = await cell.hub.registry();
  if (cell.kind.type === 'x509') refusesCertificates(cell, id);
  for (const [what, bad] of cell.kind.bad(id)) {
    const client = await cell.client(bad);
    await assert.rejects(client.open(), { name: 'UnauthorizedError' }, what);
    await client.close().catch(() => {});
  }
  await cell.using(id, async (client) => {
    const message = new Message('{"n":1}');
    message.messageId = 'one';
    message.properties.add('a b', 'c&d=e/f');
    await client.sendEvent(message);

    const twin = await client.getTwin();
    const seen = await desired(client, twin, (d) => d.rate);
    await cell.setDesired(id, { rate: 7 });
    assert.deepEqual(await seen(), { rate: 7, $version: 2 });
    await report(twin, { firmware: { version: '2' }, gone: 1 });
    await report(twin, { gone: null });
    const now = await cell.twin(id);
    assert.deepEqual(now.properties.reported.firmware, { version: '2' });
    assert.equal(now.properties.reported.$version, 3);
    assert.equal(now.connectionState, 'Connected');

    await cell.onMethod(client, id, 'echo', (request, response) => response.send(207, { got: request.payload }));
    assert.deepEqual(await cell.hub.invoke(id, 'echo', { k: 1 }), { status: 207, payload: { got: { k: 1 } } });
    const out = await cell.hub.gemello('method', 'invoke', id.deviceId, 'echo', '--module', id.moduleId, '--payload', '"x"', '--json');
    assert.deepEqual(JSON.parse(out), { status: 207, payload: { got: 'x' } });
  });
  const [record] = await cell.hub.telemetry(id.deviceId);
  assert.equal(record.headers.module, id.moduleId);
  assert.equal(record.headers.auth, `module;${cell.kind.type}`);
  assert.deepEqual(bag(record), { '$.mid': 'one', 'a b': 'c&d=e/f' });
  // Twin, methods and connection are the module's own.
  assert.equal((await registry.getTwin(id.deviceId)).responseBody.properties.reported.$version, 1);
  await until('a disconnect', async () => (await cell.twin(id)).connectionState === 'Disconnected');
  await assert.rejects(cell.hub.invoke(id, 'echo', null), /Not found/i);

  await cell.using(id, async (client) => {
    const ended = new Promise((resolve) => client._transport.once('disconnect', resolve));
    await client.sendEvent(new Message('{}'));
    await registry.update({ deviceId: id.deviceId, status: 'disabled' });
    await ended;
  });
  const again = await cell.client(id);
  await assert.rejects(again.open(), { name: 'UnauthorizedError' }, 'the device is disabled');
  again.removeAllListeners();
}

async function D18(cell) {
  const id = await cell.identity({ module: true });
  await cell.using(id, async (client) => {
    // Inputs are fed by the routes of an edge alone; the subscription is taken.
    const failed = new Promise((resolve, reject) => client.once('error', reject));
    client.on('inputMessage', () => {});
    await Promise.race([failed, until('the subscription', () => client._transport._topics.inputMessage.subscribed)]);
    const message = new Message('{"n":1}');
    message.properties.add('a b', 'c/d');
    await client.sendOutputEvent('results of/all', message);
    await client.sendEvent(new Message('{"n":2}'));
    client.removeAllListeners('error');
  });
  const [output, plain] = await cell.hub.telemetry(id.deviceId, 2);
  assert.deepEqual([output.value, plain.value], [{ n: 1 }, { n: 2 }]);
  assert.equal(output.headers.module, id.moduleId);
  assert.deepEqual(bag(output), { '$.on': 'results of/all', 'a b': 'c/d' });
  assert.deepEqual(bag(plain), {});
}

module.exports = { D17, D18 };
