'use strict';
// S15 and S16: direct methods and digital twins.
const assert = require('node:assert/strict');
const { Client, ModuleClient } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { DigitalTwinClient, IoTHubTokenCredentials } = require('azure-iothub');
const { collect } = require('../collect.js');
const { main, until, using } = require('../hub.js');

const { rows, row } = collect();

const clientOf = (device) => Client.fromConnectionString(device.connectionString, Mqtt);

/** Subscribes to a method; resolves when the hub knows of it. */
async function onMethod(client, device, name, handler) {
  client.onDeviceMethod(name, handler);
  client.onDeviceMethod('ready', (request, response) => response.send(200));
  await until('the subscription', async () => (await main.invoke(device.deviceId, 'ready', null)).status === 200);
}

async function digitalTwins() {
  return new DigitalTwinClient(new IoTHubTokenCredentials(await main.policy()));
}

row('S15', 'a device that is offline, unknown or not subscribed', async () => {
  const device = await main.createDevice('s15-offline');
  const code = (e) => JSON.parse(JSON.parse(e.responseBody).Message).errorCode;
  await assert.rejects(main.invoke(device.deviceId, 'm', null), (e) => e.response.statusCode === 404 && e.response.headers['iothub-errorcode'] === 'DeviceNotOnline' && code(e) === 404103);
  await assert.rejects(main.invoke('nobody', 'm', null), (e) => e.response.statusCode === 404 && code(e) === 404001);
  await using(clientOf(device), async () => {
    await assert.rejects(main.invoke(device.deviceId, 'm', null), (e) => code(e) === 404103);
  });
});

row('S15', 'a call waits for the device as long as it is told', async () => {
  const device = await main.createDevice('s15-wait');
  const answer = main.invoke(device.deviceId, 'm', 'late', { connectTimeoutInSeconds: 60, responseTimeoutInSeconds: 30 });
  await using(clientOf(device), async (client) => {
    client.onDeviceMethod('m', (request, response) => response.send(200, request.payload));
    assert.deepEqual(await answer, { status: 200, payload: 'late' });
  });
});

row('S15', 'a device that does not answer in time is a gateway time-out, before the socket\'s', async () => {
  const device = await main.createDevice('s15-timeout');
  await using(clientOf(device), async (client) => {
    await onMethod(client, device, 'mute', () => {});
    await assert.rejects(main.invoke(device.deviceId, 'mute', null, { responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 0 }),
      (e) => e.name === 'GatewayTimeoutError');
  });
});

row('S15', 'a device that goes in the middle of a call ends it at once', async () => {
  const device = await main.createDevice('s15-gone');
  await using(clientOf(device), async (client) => {
    const asked = new Promise((resolve) => { client.onDeviceMethod('mute', resolve); });
    await onMethod(client, device, 'other', () => {});
    const answer = main.invoke(device.deviceId, 'mute', null, { responseTimeoutInSeconds: 300 });
    const refused = assert.rejects(answer, (e) => e.response.headers['iothub-errorcode'] === 'DeviceConnectionClosedRemotely');
    await asked;
    await client.close();
    await refused;
  });
});

row('S15', 'bad requests name their fault', async () => {
  const device = await main.createDevice('s15-bad');
  await assert.rejects(main.invoke(device.deviceId, 'm', null, { responseTimeoutInSeconds: 1 }), (e) => e.name === 'ArgumentError');
  await assert.rejects(main.invoke(device.deviceId, 'm', 'x'.repeat(128 * 1024)), (e) => e.response.statusCode === 413);
});

row('S15', 'methods of a device and of its module are apart', async () => {
  const r = await main.registry();
  const device = await main.createDevice('s15-module');
  const { deviceId } = device;
  const { moduleId, authentication } = (await r.addModule({ deviceId, moduleId: 'm' })).responseBody;
  const text = `HostName=${main.host};DeviceId=${deviceId};ModuleId=${moduleId};SharedAccessKey=${authentication.symmetricKey.primaryKey}`;
  await using(clientOf(device), async (client) => {
    await onMethod(client, device, 'who', (request, response) => response.send(200, 'device'));
    await assert.rejects(main.invoke({ deviceId, moduleId }, 'who', null), (e) => e.response.headers['iothub-errorcode'] === 'DeviceNotOnline');
    await using(ModuleClient.fromConnectionString(text, Mqtt), async (module) => {
      module.onMethod('who', (request, response) => response.send(201, 'module'));
      const answer = await until('the subscription', () => main.invoke({ deviceId, moduleId }, 'who', null));
      assert.deepEqual(answer, { status: 201, payload: 'module' });
      assert.deepEqual(await main.invoke(deviceId, 'who', null), { status: 200, payload: 'device' });
    });
  });
  await assert.rejects(main.invoke({ deviceId, moduleId: 'nobody' }, 'who', null), (e) => e.response.statusCode === 404);
  // The same from a shell.
  await assert.rejects(main.gemello('method', 'invoke', deviceId, 'who'), (e) => e.code === 1 && /DeviceNotOnline/.test(e.stderr));
});

row('S16', 'invokeCommand and invokeComponentCommand reach the device and bring its answer', async () => {
  const device = await main.createDevice('s16-commands');
  const twins = await digitalTwins();
  await using(clientOf(device), async (client) => {
    client.onDeviceMethod('thermostat*read', (request, response) => response.send(203, { component: request.payload }));
    await onMethod(client, device, 'reboot', (request, response) => response.send(202, { root: request.payload }));
    const answer = (a) => [JSON.parse(a._response.bodyAsText), a.xMsCommandStatuscode];
    assert.deepEqual(answer(await twins.invokeCommand(device.deviceId, 'reboot', { delay: 5 })), [{ root: { delay: 5 } }, 202]);
    const times = { connectTimeoutInSeconds: 1, responseTimeoutInSeconds: 30 };
    const component = await twins.invokeComponentCommand(device.deviceId, 'thermostat', 'read', 7, times);
    assert.deepEqual(answer(component), [{ component: 7 }, 203]);
  });
});

row('S16', 'DigitalTwinClient reads, patches and commands', async () => {
  const device = await main.createDevice('s16');
  const twins = await digitalTwins();
  assert.equal((await twins.getDigitalTwin(device.deviceId)).$dtId, device.deviceId);
  await twins.updateDigitalTwin(device.deviceId, [{ op: 'add', path: '/rate', value: 5 }]);
  const second = await twins.getDigitalTwin(device.deviceId);
  assert.equal(second.rate, 5);
  assert.equal(second.$metadata.rate.desiredValue, 5);
  await assert.rejects(twins.updateDigitalTwin(device.deviceId, [{ op: 'add', path: '/rate', value: 6 }], 'stale'));
  assert.equal((await (await main.registry()).getTwin(device.deviceId)).responseBody.properties.desired.rate, 5);
  await assert.rejects(twins.invokeCommand(device.deviceId, 'reboot', {}));
});

module.exports = rows;
