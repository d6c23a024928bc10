'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Client: ServiceClient, DigitalTwinClient, IoTHubTokenCredentials } = require('azure-iothub');
const { clientOf, createDevice, gemello, policy, registry, report, until, using } = require('./hub.js');

let service;
/** Calls a method of a device and returns {status, payload}. */
async function invoke(id, methodName, payload, more = {}) {
  service ??= ServiceClient.fromConnectionString(await policy());
  const { result } = await service.invokeDeviceMethod(id, { methodName, payload, ...more });
  return { status: result.status, payload: result.payload };
}

/** Subscribes to a method; resolves when the hub knows of it. */
async function onMethod(client, device, name, handler) {
  client.onDeviceMethod(name, handler);
  // The SDK does not say when it has subscribed: ask until the device is asked.
  client.onDeviceMethod('ready', (request, response) => response.send(200));
  await until('the subscription', async () => (await invoke(device.deviceId, 'ready', null)).status === 200);
}

async function digitalTwins() {
  return new DigitalTwinClient(new IoTHubTokenCredentials(await policy()));
}

test('D10: payloads reach the device as they are and come back as they are', async () => {
  const device = await createDevice('d10');
  await using(clientOf(device), async (client) => {
    const seen = [];
    await onMethod(client, device, 'echo', (request, response) => {
      seen.push(request.payload);
      response.send(200, request.payload);
    });
    const payloads = [null, '', 'foo', {}, { k: 'v', n: 1.5, deep: { a: [1, null] } }, 0, false, [1, 2], 'größe <&>'];
    for (const payload of payloads) {
      assert.deepEqual(await invoke(device.deviceId, 'echo', payload), { status: 200, payload });
    }
    assert.deepEqual(seen, payloads);
  });
});

test('D10: any status the SDK can send comes back', async () => {
  const device = await createDevice('d10-status');
  await using(clientOf(device), async (client) => {
    await onMethod(client, device, 'status', (request, response) => response.send(request.payload, { got: request.payload }));
    for (const status of [1, 200, 201, 404, 418, 500, 2147483647, -1]) {
      assert.deepEqual(await invoke(device.deviceId, 'status', status), { status, payload: { got: status } });
    }
  });
});

test('D10: methods still work after the token was renewed', async () => {
  const device = await createDevice('d10-again');
  await using(clientOf(device), async (client) => {
    await onMethod(client, device, 'm', (request, response) => response.send(200, 'here'));
    await client.close();
    await client.open();
    await until('an answer', async () => (await invoke(device.deviceId, 'm', null)).payload === 'here');
  });
});

test('D20: commands of components are methods COMPONENT*COMMAND', async () => {
  const device = await createDevice('d20');
  await using(clientOf(device), async (client) => {
    const called = [];
    const handler = (name) => (request, response) => {
      called.push([name, request.methodName, request.payload]);
      response.send(200, { max: 31 });
    };
    await onMethod(client, device, 'thermostat1*getMaxMinReport', handler('component'));
    client.onDeviceMethod('reboot', handler('root'));
    const twins = await digitalTwins();
    const component = await twins.invokeComponentCommand(device.deviceId, 'thermostat1', 'getMaxMinReport', '2026-01-02T03:04:05Z');
    assert.equal(component.statusCode ?? component['x-ms-command-statuscode'] ?? component.xMsCommandStatuscode, 200);
    await twins.invokeCommand(device.deviceId, 'reboot', { delay: 5 });
    assert.deepEqual(called, [
      ['component', 'thermostat1*getMaxMinReport', '2026-01-02T03:04:05Z'],
      ['root', 'reboot', { delay: 5 }],
    ]);
  });
});

test('D20: properties of components are asked for and acknowledged', async () => {
  const device = await createDevice('d20-properties');
  const twins = await digitalTwins();
  await using(clientOf(device), async (client) => {
    const twin = await client.getTwin();
    const asked = new Promise((resolve) => twin.on('properties.desired', (d) => { if (d.thermostat1) resolve(d); }));
    await twins.updateDigitalTwin(device.deviceId, [{ op: 'add', path: '/thermostat1/target', value: 21.5 }]);
    const { thermostat1, $version } = await asked;
    assert.deepEqual(thermostat1, { __t: 'c', target: 21.5 });
    await report(twin, { thermostat1: { __t: 'c', target: { value: 21.5, ac: 200, av: $version, ad: 'done' } } });
    const { $metadata, target } = (await twins.getDigitalTwin(device.deviceId)).thermostat1;
    assert.equal(target, 21.5);
    assert.deepEqual(
      { desired: $metadata.target.desiredValue, code: $metadata.target.ackCode, version: $metadata.target.ackVersion, text: $metadata.target.ackDescription },
      { desired: 21.5, code: 200, version: $version, text: 'done' });
  });
});

test('S15: a device that is offline, unknown or not subscribed', async () => {
  const device = await createDevice('s15-offline');
  const code = (e) => JSON.parse(JSON.parse(e.responseBody).Message).errorCode;
  await assert.rejects(invoke(device.deviceId, 'm', null), (e) => e.response.statusCode === 404 && e.response.headers['iothub-errorcode'] === 'DeviceNotOnline' && code(e) === 404103);
  await assert.rejects(invoke('nobody', 'm', null), (e) => e.response.statusCode === 404 && code(e) === 404001);
  await using(clientOf(device), async () => {
    await assert.rejects(invoke(device.deviceId, 'm', null), (e) => code(e) === 404103);
  });
});

test('S15: a call waits for the device as long as it is told', async () => {
  const device = await createDevice('s15-wait');
  const answer = invoke(device.deviceId, 'm', 'late', { connectTimeoutInSeconds: 60, responseTimeoutInSeconds: 30 });
  await using(clientOf(device), async (client) => {
    client.onDeviceMethod('m', (request, response) => response.send(200, request.payload));
    assert.deepEqual(await answer, { status: 200, payload: 'late' });
  });
});

test('S15: a device that does not answer in time is a gateway time-out, before the socket\'s', async () => {
  const device = await createDevice('s15-timeout');
  await using(clientOf(device), async (client) => {
    await onMethod(client, device, 'mute', () => {});
    await assert.rejects(invoke(device.deviceId, 'mute', null, { responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 0 }),
      (e) => e.name === 'GatewayTimeoutError');
  });
});

test('S15: a device that goes in the middle of a call ends it at once', async () => {
  const device = await createDevice('s15-gone');
  await using(clientOf(device), async (client) => {
    const asked = new Promise((resolve) => { client.onDeviceMethod('mute', resolve); });
    await onMethod(client, device, 'other', () => {});
    const answer = invoke(device.deviceId, 'mute', null, { responseTimeoutInSeconds: 300 });
    const refused = assert.rejects(answer, (e) => e.response.headers['iothub-errorcode'] === 'DeviceConnectionClosedRemotely');
    await asked;
    await client.close();
    await refused;
  });
});

test('S15: bad requests name their fault', async () => {
  const device = await createDevice('s15-bad');
  await assert.rejects(invoke(device.deviceId, 'm', null, { responseTimeoutInSeconds: 1 }), (e) => e.name === 'ArgumentError');
  await assert.rejects(invoke(device.deviceId, 'm', 'x'.repeat(128 * 1024)), (e) => e.response.statusCode === 413);
});

test('S16: DigitalTwinClient reads, patches and commands', async () => {
  const device = await createDevice('s16');
  const twins = await digitalTwins();
  assert.equal((await twins.getDigitalTwin(device.deviceId)).$dtId, device.deviceId);
  await twins.updateDigitalTwin(device.deviceId, [{ op: 'add', path: '/rate', value: 5 }]);
  const second = await twins.getDigitalTwin(device.deviceId);
  assert.equal(second.rate, 5);
  assert.equal(second.$metadata.rate.desiredValue, 5);
  await assert.rejects(twins.updateDigitalTwin(device.deviceId, [{ op: 'add', path: '/rate', value: 6 }], 'stale'));
  assert.equal((await (await registry()).getTwin(device.deviceId)).responseBody.properties.desired.rate, 5);
  await assert.rejects(twins.invokeCommand(device.deviceId, 'reboot', {}));
});

test('gemello method invoke prints the answer', async () => {
  const device = await createDevice('cli');
  await using(clientOf(device), async (client) => {
    await onMethod(client, device, 'echo', (request, response) => response.send(202, request.payload));
    const out = await gemello('method', 'invoke', device.deviceId, 'echo', '--payload', '{"a":1}', '--json');
    assert.deepEqual(JSON.parse(out), { status: 202, payload: { a: 1 } });
  });
  await assert.rejects(gemello('method', 'invoke', device.deviceId, 'echo'), (e) => e.code === 1 && /DeviceNotOnline/.test(e.stderr));
});
