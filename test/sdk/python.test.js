'use strict';
// Azure's device SDK for Python, where GEMELLO_PYTHON_SDK names a Python that has
// azure-iot-device (python3 -m venv D && D/bin/pip install azure-iot-device).
const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const { join } = require('node:path');
const { test } = require('node:test');
const { main } = require('./hub.js');

const python = process.env.GEMELLO_PYTHON_SDK;
const absent = !python || spawnSync(python, ['-c', 'import azure.iot.device']).status !== 0;

test('Python: telemetry, reported and desired properties', { skip: absent && 'GEMELLO_PYTHON_SDK names no Python with azure-iot-device' }, async () => {
  const device = await main.createDevice('python');
  const child = spawn(python, [join(__dirname, 'python_device.py')], {
    env: { ...process.env, CS: device.connectionString }, stdio: ['ignore', 'pipe', 'inherit'], timeout: 60000,
  });
  const ended = once(child, 'exit');
  const [ready] = await Promise.race([once(child.stdout, 'data'), ended]);
  assert.match(String(ready), /ready/);
  await (await main.registry()).updateTwin(device.deviceId, { properties: { desired: { rate: 7 } } }, '*');
  assert.deepEqual(await ended, [0, null]);
  const got = await main.telemetry(device.deviceId, 20);
  assert.deepEqual(got.map((r) => r.value.i), Array.from({ length: 20 }, (_, i) => i));
  assert.match(got[0].headers.props, /a%20b=c%26d%3De%2Ff/);
  assert.equal((await (await main.registry()).getTwin(device.deviceId)).responseBody.properties.reported.ready, true);
});
