'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { clientOf, createDevice, registry, report, using } = require('./hub.js');

async function serviceTwin(id) {
  return (await (await registry()).getTwin(id)).responseBody;
}

async function setDesired(id, patch) {
  await (await registry()).updateTwin(id, { properties: { desired: patch } }, '*');
}

test('D7: a new device has an empty twin', async () => {
  const device = await createDevice('d7');
  await using(clientOf(device), async (client) => {
    const twin = await client.getTwin();
    assert.equal(twin.properties.desired.$version, 1);
    assert.equal(twin.properties.reported.$version, 1);
  });
});

test('D7: desired changes reach a listener, each level of it', async () => {
  const device = await createDevice('d7-desired');
  await using(clientOf(device), async (client) => {
    const twin = await client.getTwin();
    const seen = new Promise((resolve) => twin.on('properties.desired.fan', (d) => { if (d.speed === 3) resolve(d); }));
    await setDesired(device.deviceId, { fan: { speed: 3, mode: 'auto' }, rate: 5 });
    assert.deepEqual(await seen, { speed: 3, mode: 'auto' });
    assert.equal(twin.properties.desired.rate, 5);
    assert.equal(twin.properties.desired.$version, 2);
  });
});

test('D8: reported properties are merged; null removes', async () => {
  const device = await createDevice('d8');
  await using(clientOf(device), async (client) => {
    const twin = await client.getTwin();
    await report(twin, { firmware: { version: '1.2', build: 7 }, rate: 5 });
    await report(twin, { firmware: { build: 8 }, rate: null });
  });
  const { reported } = (await serviceTwin(device.deviceId)).properties;
  assert.deepEqual(reported.firmware, { version: '1.2', build: 8 });
  assert.ok(!('rate' in reported), 'rate is still there');
  assert.equal(reported.$version, 3);
});

test('D8: a report that is too large is refused and changes nothing', async () => {
  const device = await createDevice('d8-large');
  await using(clientOf(device), async (client) => {
    const twin = await client.getTwin();
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, 'x'.repeat(3000)]));
    await assert.rejects(report(twin, many));
    await report(twin, { small: 1 });
  });
  const { reported } = (await serviceTwin(device.deviceId)).properties;
  assert.equal(reported.small, 1);
  assert.ok(!('k0' in reported));
  assert.equal(reported.$version, 2);
});

test('D9: what was desired while the device was away is in its twin', async () => {
  const device = await createDevice('d9');
  await setDesired(device.deviceId, { rate: 7 });
  await using(clientOf(device), async (client) => {
    const twin = await client.getTwin();
    assert.equal(twin.properties.desired.rate, 7);
    assert.equal(twin.properties.desired.$version, 2);
  });
});
