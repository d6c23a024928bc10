'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { main } = require('./hub.js');

test('a purge ends what is queued, and the 51st message is refused', async () => {
  const { deviceId: id } = await main.createDevice('c2d-full');
  await main.gemello('command', 'send', id, '--body', '0', '--property', 'a=b', '--ack', 'full');
  for (let i = 1; i < 50; i++) await main.send(id, `${i}`);
  await assert.rejects(main.gemello('command', 'send', id, '--body', 'too many'), /50 commands wait/);
  assert.strictEqual(JSON.parse(await main.gemello('command', 'list', id)).commands.length, 50);
  assert.strictEqual(JSON.parse(await main.gemello('command', 'purge', id)).totalMessagesPurged, 50);
  assert.strictEqual((await main.queued(id)).length, 0);
});
