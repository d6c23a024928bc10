'use strict';
// S7: queries.
const assert = require('node:assert/strict');
const https = require('node:https');
const { SharedAccessSignature, ConnectionString } = require('azure-iot-common');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { collect } = require('../collect.js');
const { main, fresh, report, until, using } = require('../hub.js');

const { rows, row } = collect();

/** Makes n devices whose tag group is fresh; returns {group, ids}. */
async function fleet(n) {
  const r = await main.registry();
  const group = fresh('group');
  const ids = Array.from({ length: n }, (_, i) => `${group}-${i}`);
  await r.addDevices(ids.map((deviceId) => ({ deviceId, tags: { group } })));
  await Promise.all(ids.map((id, n) => r.updateTwin(id, { tags: { group, n } }, '*')));
  return { group, ids };
}

/** All pages of a query: {rows, pages, responses}. */
async function all(query, next = 'next') {
  const rows = [];
  const responses = [];
  do {
    const { result, message } = await query[next](query.continuationToken);
    rows.push(...result);
    responses.push(message);
    assert.ok(responses.length < 100, 'the pages end');
  } while (query.hasMoreResults);
  return { rows, responses };
}

/** A request of the service API with its headers; the SDK sets none of ours. */
async function service(method, path, body, headers = {}) {
  const cn = ConnectionString.parse(await main.policy());
  const ends = Math.floor(Date.now() / 1000) + 600;
  const authorization = SharedAccessSignature.create(main.host, cn.SharedAccessKeyName, cn.SharedAccessKey, ends).toString();
  return new Promise((resolve, reject) => {
    const request = https.request({
      host: main.host, method, path: `${path}?api-version=2021-04-12`,
      headers: { authorization, 'content-type': 'application/json', ...headers },
    }, (response) => {
      const parts = [];
      response.on('data', (b) => parts.push(b));
      response.on('end', () => resolve({
        status: response.statusCode, headers: response.headers, body: JSON.parse(Buffer.concat(parts).toString()),
      }));
    });
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

row('S7', 'a query gives its rows page by page, and the last page no continuation', async () => {
  const { group, ids } = await fleet(7);
  const r = await main.registry();
  const text = `SELECT * FROM devices WHERE tags.group = '${group}'`;
  for (const [size, pages] of [[1, 7], [3, 3], [7, 1], [undefined, 1]]) {
    const { rows, responses } = await all(r.createQuery(text, size));
    assert.deepEqual(rows.map((row) => row.deviceId).sort(), ids);
    assert.equal(responses.length, pages);
    responses.forEach((m, i) => {
      assert.equal(m.headers['x-ms-item-type'], 'Twin');
      assert.equal('x-ms-continuation' in m.headers, i < pages - 1);
    });
  }
  const none = await all(r.createQuery("SELECT * FROM devices WHERE tags.group = 'nobody'"));
  assert.deepEqual(none.rows, []);
  await assert.rejects(r.createQuery('SELECT * FROM devices WHERE').next(), { name: 'ArgumentError' });
});

row('S7', 'nextAsTwin gives twins that can be changed', async () => {
  const { group, ids } = await fleet(3);
  const r = await main.registry();
  const { rows } = await all(r.createQuery(`SELECT * FROM devices WHERE tags.group = '${group}'`, 2), 'nextAsTwin');
  assert.deepEqual(rows.map((twin) => twin.deviceId).sort(), ids);
  for (const twin of rows) {
    await twin.update({ tags: { seen: true } });
    assert.deepEqual([twin.tags.seen, twin.tags.group], [true, group]);
  }
  const seen = await all(r.createQuery(`SELECT deviceId FROM devices WHERE tags.group = '${group}' AND tags.seen = true`));
  assert.equal(seen.rows.length, 3);
  assert.equal(seen.responses[0].headers['x-ms-item-type'], 'Raw');
});

row('S7', 'rows that sum up', async () => {
  const { group } = await fleet(5);
  const r = await main.registry();
  const { rows } = await all(r.createQuery(`SELECT COUNT() AS n, AVG(tags.n) AS mean, MAX(tags.n) AS top FROM devices WHERE tags.group = '${group}'`));
  assert.deepEqual(rows, [{ n: 5, mean: 2, top: 4 }]);
});

row('S7', 'modules are a collection of their own', async () => {
  const { group, ids } = await fleet(2);
  const r = await main.registry();
  for (const moduleId of ['camera', 'modem']) {
    await r.addModule({ deviceId: ids[0], moduleId });
    await r.updateModuleTwin(ids[0], moduleId, { tags: { group } }, '*');
  }
  const modules = await all(r.createQuery(`SELECT * FROM devices.modules WHERE tags.group = '${group}'`, 1));
  assert.deepEqual(modules.rows.map((m) => `${m.deviceId}/${m.moduleId}`), [`${ids[0]}/camera`, `${ids[0]}/modem`]);
  assert.equal(modules.responses[0].headers['x-ms-item-type'], 'Twin');
  const devices = await all(r.createQuery(`SELECT deviceId, moduleId FROM devices WHERE tags.group = '${group}'`));
  assert.deepEqual(devices.rows.map((d) => d.deviceId).sort(), ids);
  assert.ok(devices.rows.every((d) => d.moduleId === undefined));
});

row('S7', 'what Azure IoT Explorer lists', async () => {
  const device = await main.createDevice('explorer');
  const r = await main.registry();
  const text = 'SELECT deviceId as DeviceId, status as Status, lastActivityTime as LastActivityTime, ' +
    'statusUpdatedTime as StatusUpdatedTime, authenticationType as AuthenticationType, ' +
    'cloudToDeviceMessageCount as CloudToDeviceMessageCount, connectionState as ConnectionState, ' +
    'capabilities.iotEdge as IotEdge, modelId as ModelId FROM devices';
  const wanted = `${text} WHERE STARTSWITH(devices.deviceId, '${device.deviceId.slice(0, -1)}')`;
  const { rows: [row], responses } = await all(r.createQuery(wanted, 100));
  const { LastActivityTime, StatusUpdatedTime, ...rest } = row;
  assert.deepEqual(rest, {
    DeviceId: device.deviceId, Status: 'enabled', AuthenticationType: 'sas', CloudToDeviceMessageCount: 0,
    ConnectionState: 'Disconnected', IotEdge: false, ModelId: '',
  });
  assert.ok(LastActivityTime && StatusUpdatedTime);
  assert.equal(responses[0].headers['x-ms-item-type'], 'Raw');
  const { rows } = await all(r.createQuery(text, 100));
  assert.ok(rows.some((d) => d.DeviceId === device.deviceId));
});

row('S7', 'a query after the position of a write holds the write', async () => {
  const { ids: [id] } = await fleet(1);
  for (let round = 0; round < 10; round++) {
    const mark = `${id}-${round}`;
    const written = await service('PATCH', `/twins/${id}`, { tags: { mark } }, { 'if-match': '*' });
    assert.equal(written.status, 200);
    const position = written.headers['x-gemello-log-position'];
    assert.match(position, /^\d+:\d+$/);
    const found = await service('POST', '/devices/query', { query: `SELECT deviceId FROM devices WHERE tags.mark = '${mark}'` }, {
      'x-gemello-after': position,
    });
    assert.deepEqual([found.status, found.body], [200, [{ deviceId: id }]]);
  }
});

row('S7', 'conditions on what a device reports, and the command line', async () => {
  const device = await main.createDevice('s7-reported');
  await using(Client.fromConnectionString(device.connectionString, Mqtt), async (client) => {
    const twin = await client.getTwin();
    await report(twin, { firmware: { version: '2.1', slots: ['a', 'b'] }, battery: 17 });
  });
  const condition = `deviceId = '${device.deviceId}' AND properties.reported.firmware.version = '2.1' AND properties.reported.firmware.slots[1] = 'b' AND properties.reported.battery < 20`;
  const text = `SELECT deviceId, properties.reported.battery FROM devices WHERE ${condition}`;
  const want = [{ deviceId: device.deviceId, battery: 17 }];
  const r = await main.registry();
  await until('the report', async () => (await all(r.createQuery(text))).rows.length === 1);
  assert.deepEqual((await all(r.createQuery(text))).rows, want);
  assert.deepEqual(JSON.parse(await main.gemello('query', text, '--json', '--page-size', '1')), want);
  assert.equal(await main.gemello('query', text), `${JSON.stringify(want[0])}\n`);
  await assert.rejects(main.gemello('query', 'SELECT * FROM nowhere'), /nowhere/);
});

module.exports = rows;
