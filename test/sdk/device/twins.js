'use strict';
// D7 to D9: the device's side of its twin.
const assert = require('node:assert/strict');
const { desired, report } = require('../hub.js');

async function D7(cell) {
  const id = await cell.identity();
  await cell.using(id, async (client) => {
    const twin = await client.getTwin();
    assert.equal(twin.properties.desired.$version, 1);
    assert.equal(twin.properties.reported.$version, 1);
    // Listeners at any level.
    const all = await desired(client, twin, (d) => d.rate === 5);
    const fan = await desired(client, twin, (d) => d?.speed === 3, '.fan');
    await cell.setDesired(id, { fan: { speed: 3, mode: 'auto' }, rate: 5 });
    assert.deepEqual(await fan(), { speed: 3, mode: 'auto' });
    assert.deepEqual(await all(), { fan: { speed: 3, mode: 'auto' }, rate: 5, $version: 2 });
    assert.equal(twin.properties.desired.rate, 5);
    const removed = await desired(client, twin, (d) => d.fan === null);
    await cell.setDesired(id, { fan: null });
    assert.deepEqual(await removed(), { fan: null, $version: 3 });
    assert.deepEqual((await client.getTwin()).properties.desired.fan, undefined);
  });
}

async function D8(cell) {
  const id = await cell.identity();
  await cell.using(id, async (client) => {
    const twin = await client.getTwin();
    await report(twin, { firmware: { version: '1.2', build: 7 }, rate: 5 });
    await report(twin, { firmware: { build: 8 }, rate: null });
    const large = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, 'x'.repeat(3000)]));
    await assert.rejects(report(twin, large), 'more than a twin holds');
    await report(twin, { small: 1 });
  });
  const { $metadata, ...reported } = (await cell.twin(id)).properties.reported;
  assert.deepEqual(reported, { firmware: { version: '1.2', build: 8 }, small: 1, $version: 4 });
}

async function D9(cell) {
  const id = await cell.identity();
  await cell.setDesired(id, { rate: 6 });
  await cell.using(id, (client) => client.getTwin());
  await cell.setDesired(id, { rate: 7 });
  await cell.using(id, async (client) => {
    const twin = await client.getTwin();
    assert.equal(twin.properties.desired.rate, 7);
    assert.equal(twin.properties.desired.$version, 3);
  });
}

module.exports = { D7, D8, D9 };
