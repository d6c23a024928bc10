'use strict';
// D5 and D6: messages from the cloud.
const assert = require('node:assert/strict');
const { until } = require('../hub.js');

/** Collects what the client receives. */
function receive(client) {
  const got = [];
  client.on('message', (m) => got.push(m));
  return got;
}

/** What became of the deliveries to a device, by the log. */
const outcomes = (cell, id) => cell.hub.log(id.deviceId).filter((r) => r.headers.kind === 'settle').map((r) => r.headers.outcome);

const empty = (cell, id) => until('an empty queue', async () => (await cell.hub.queued(id.deviceId)).length === 0);

async function D5(cell) {
  // Over HTTPS properties are headers, whose prefix the SDK leaves in their names.
  const property = cell.https ? 'alarm' : 'a b';
  const id = await cell.identity();
  await cell.hub.send(id.deviceId, 'one', { properties: { [property]: 'c&d=/e' }, messageId: 'm 1', ack: 'full' });
  await cell.hub.send(id.deviceId, 'x'.repeat(40000));
  await cell.using(id, async (client) => {
    const got = receive(client);
    for (const n of [1, 2]) {
      await until(`message ${n}`, () => got.length >= n);
      await client.complete(got[n - 1]);
    }
    await cell.hub.send(id.deviceId, 'three');
    await until('a message that is sent while it is connected', () => got.length >= 3);
    await client.complete(got[2]);
    assert.deepEqual(got.map((m) => m.data.toString()), ['one', 'x'.repeat(40000), 'three']);
    assert.equal(got[0].messageId, 'm 1');
    assert.equal(got[0].properties.getValue(cell.https ? 'iothub-app-alarm' : property), 'c&d=/e');
    await empty(cell, id);
  });
  await until('the outcomes', () => outcomes(cell, id).length >= 3);
  assert.deepEqual(outcomes(cell, id), ['complete', 'complete', 'complete']);
}

async function D6(cell) {
  const id = await cell.identity();
  await cell.hub.send(id.deviceId, 'one', { messageId: 'm1' });
  await cell.using(id, async (client) => {
    const got = receive(client);
    await until('the message', () => got.length === 1);
    await client.abandon(got[0]);
    await until('the message again', () => got.length === 2);
    assert.deepEqual(got.map((m) => [m.data.toString(), m.messageId]), [['one', 'm1'], ['one', 'm1']]);
    await client.complete(got[1]);
    await empty(cell, id);
    await cell.hub.send(id.deviceId, 'two');
    await until('the second message', () => got.length === 3);
    await client.reject(got[2]);
    await empty(cell, id);
    await assert.rejects(client.complete(got[2]), 'a lock is good for one outcome');
  });
  await until('the outcomes', () => outcomes(cell, id).length >= 3);
  assert.deepEqual(outcomes(cell, id).slice(0, 3), ['abandon', 'complete', 'reject']);
}

module.exports = { D5, D6 };
