'use strict';
// S5 and S6: the service's side of twins.
const assert = require('node:assert/strict');
const { collect } = require('../collect.js');
const { main, fresh } = require('../hub.js');

const { rows, row } = collect();

/** Bare etag, for the SDK quotes what it is given. */
const bare = (etag) => etag.replace(/"/g, '');

row('S5', 'a twin is changed from the service; a stale etag is refused', async () => {
  const r = await main.registry();
  const deviceId = fresh('s5');
  await r.create({ deviceId });
  const twin = (await r.getTwin(deviceId)).responseBody;
  const patched = (await r.updateTwin(deviceId, { tags: { site: 'a' }, properties: { desired: { rate: 5 } } }, twin.etag)).responseBody;
  assert.equal(patched.tags.site, 'a');
  assert.equal(patched.properties.desired.rate, 5);
  for (const stale of ['abc', twin.etag]) {
    await assert.rejects(r.updateTwin(deviceId, { tags: { site: 'b' } }, stale), { name: 'InvalidEtagError' });
  }
  await r.updateTwin(deviceId, { tags: { site: null } }, '*');
  assert.equal((await r.getTwin(deviceId)).responseBody.tags?.site, undefined);
  await r.delete(deviceId);
});

row('S5', "a module's twin is its own; stale etags are refused", async () => {
  const r = await main.registry();
  const { deviceId } = await main.createDevice('s5-module');
  const m = (await r.addModule({ deviceId, moduleId: fresh('m') })).responseBody;
  const moduleTwin = async () => (await r.getModuleTwin(deviceId, m.moduleId)).responseBody;
  const twin = await moduleTwin();
  assert.equal(twin.moduleId, m.moduleId);
  assert.equal(twin.properties.desired.$version, 1);
  const patch = { tags: { site: 'a', gone: 1 }, properties: { desired: { rate: 5, deep: { a: 1, b: 2 } } } };
  const patched = (await r.updateModuleTwin(m.deviceId, m.moduleId, patch, bare(twin.etag))).responseBody;
  assert.equal(patched.properties.desired.rate, 5);
  assert.equal(patched.properties.desired.$version, 2);
  for (const stale of ['abc', bare(twin.etag)]) {
    await assert.rejects(r.updateModuleTwin(m.deviceId, m.moduleId, { tags: { site: 'b' } }, stale), { name: 'InvalidEtagError' });
  }
  const any = (await r.updateModuleTwin(m.deviceId, m.moduleId, { tags: null }, '*')).responseBody;
  assert.deepEqual(any.tags ?? {}, {});
  assert.equal((await r.getTwin(m.deviceId)).responseBody.properties.desired.rate, undefined, "the device's twin changed");
  await assert.rejects(r.getModuleTwin(m.deviceId, 'nobody'), /Not found/i);
});

for (const what of ['device', 'module']) {
  row('S6', `the twin of a ${what} changes through its object, with its own etag; null removes`, async () => {
    const r = await main.registry();
    const { deviceId } = await main.createDevice('s6');
    if (what === 'module') await r.addModule({ deviceId, moduleId: 'm' });
    const read = async () => (what === 'module' ? await r.getModuleTwin(deviceId, 'm') : await r.getTwin(deviceId)).responseBody;
    const twin = await read();
    await twin.update({ tags: { site: 'a', gone: 1 }, properties: { desired: { deep: { a: 1, b: 2 }, list: [1, { k: null }] } } });
    assert.equal(twin.properties.desired.deep.b, 2, 'the object takes the answer over');
    const stale = await read();
    await twin.update({ tags: { gone: null }, properties: { desired: { deep: { a: null } } } });
    const { properties, tags } = await read();
    assert.deepEqual(tags, { site: 'a' });
    assert.deepEqual(properties.desired.deep, { b: 2 });
    assert.deepEqual(properties.desired.list, [1, { k: null }]);
    assert.equal(properties.desired.$version, 3);
    await assert.rejects(stale.update({ tags: { site: 'b' } }), { name: 'InvalidEtagError' });
    // A section that is null is emptied.
    await twin.update({ tags: null, properties: { desired: null } });
    const last = await read();
    const { $metadata, ...desired } = last.properties.desired;
    assert.deepEqual([last.tags ?? {}, desired], [{}, { $version: 4 }]);
    assert.equal(last.properties.reported.$version, 1);
  });
}

module.exports = rows;
