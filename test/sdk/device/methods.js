'use strict';
// D10 and D20: direct methods, components.
const assert = require('node:assert/strict');
const { Message } = require('azure-iot-device');
const { DigitalTwinClient, IoTHubTokenCredentials } = require('azure-iothub');
const { desired, report } = require('../hub.js');

async function D10(cell) {
  const id = await cell.identity();
  await cell.using(id, async (client) => {
    const seen = [];
    client.onDeviceMethod('status', (request, response) => response.send(request.payload, { got: request.payload }));
    const zero = new Promise((resolve) => {
      client.onDeviceMethod('zero', (request, response) => response.send(0, null).catch(resolve));
    });
    await cell.onMethod(client, id, 'echo', (request, response) => {
      seen.push(request.payload);
      response.send(200, request.payload);
    });
    const payloads = [null, '', 'foo', {}, { k: 'v', n: 1.5, deep: { a: [1, null] } }, 0, false, [1, 2], 'größe <&>'];
    for (const payload of payloads) {
      assert.deepEqual(await cell.hub.invoke(id, 'echo', payload), { status: 200, payload });
    }
    assert.deepEqual(seen, payloads);
    for (const status of [1, 200, 201, 404, 418, 500, 2147483647, -1]) {
      assert.deepEqual(await cell.hub.invoke(id, 'status', status), { status, payload: { got: status } });
    }
    // The SDK itself refuses to send 0.
    cell.hub.invoke(id, 'zero', null).catch(() => {});
    assert.match((await zero).message, /'response.status' is falsy/);
  });
}

async function D20(cell) {
  const id = await cell.identity();
  const twins = new DigitalTwinClient(new IoTHubTokenCredentials(await cell.hub.policy()));
  const called = [];
  const handler = (name) => (request, response) => {
    called.push([name, request.methodName, request.payload]);
    response.send(200, { max: 31 });
  };
  await cell.using(id, async (client) => {
    client.onDeviceMethod('reboot', handler('root'));
    await cell.onMethod(client, id, 'thermostat1*getMaxMinReport', handler('component'));
    await twins.invokeComponentCommand(id.deviceId, 'thermostat1', 'getMaxMinReport', '2026-01-02T03:04:05Z');
    await twins.invokeCommand(id.deviceId, 'reboot', { delay: 5 });
    assert.deepEqual(called, [
      ['component', 'thermostat1*getMaxMinReport', '2026-01-02T03:04:05Z'],
      ['root', 'reboot', { delay: 5 }],
    ]);

    const twin = await client.getTwin();
    const asked = await desired(client, twin, (d) => d.thermostat1);
    await twins.updateDigitalTwin(id.deviceId, [{ op: 'add', path: '/thermostat1/target', value: 21.5 }]);
    const { thermostat1, $version } = await asked();
    assert.deepEqual(thermostat1, { __t: 'c', target: 21.5 });
    await report(twin, { thermostat1: { __t: 'c', target: { value: 21.5, ac: 200, av: $version, ad: 'done' } } });
    const { $metadata, target } = (await twins.getDigitalTwin(id.deviceId)).thermostat1;
    assert.equal(target, 21.5);
    const { desiredValue, ackCode, ackVersion, ackDescription } = $metadata.target;
    assert.deepEqual([desiredValue, ackCode, ackVersion, ackDescription], [21.5, 200, $version, 'done']);

    // Telemetry of a component names it.
    const m = new Message('{"temperature":21}');
    m.properties.add('dt-subject', 'thermostat1');
    await client.sendEvent(m);
  }, { modelId: 'dtmi:com:example:TemperatureController;1' });
  const [record] = await cell.hub.telemetry(id.deviceId);
  assert.match(decodeURIComponent(record.headers.props), /\$\.sub=thermostat1/);
  assert.equal((await twins.getDigitalTwin(id.deviceId)).$metadata.$model, 'dtmi:com:example:TemperatureController;1');
}

module.exports = { D10, D20 };
