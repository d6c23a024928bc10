'use strict';
// Azure's device SDK for Python over MQTT and MQTT through a WebSocket, with each
// kind of credential. GEMELLO_PYTHON_SDK names a Python that has azure-iot-device.
const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const { after, before, describe, it } = require('node:test');
const checklist = require('./checklist.js');
const { identity, kinds } = require('./credentials.js');
const { main, bag, until } = require('./hub.js');

const python = process.env.GEMELLO_PYTHON_SDK;
const absent = !python || spawnSync(python, ['-c', 'import azure.iot.device']).status !== 0;
const skip = absent && 'there is no Python with azure-iot-device';

let dir;
before(() => { dir = mkdtempSync(join(tmpdir(), 'sdk-python-')); });
after(() => rmSync(dir, { recursive: true }));

/** What python_device.py must know of an identity and its credential. */
function described(id, websockets) {
  const { deviceId, moduleId } = id;
  const known = { host: main.host, deviceId, moduleId, websockets };
  const names = `HostName=${main.host};DeviceId=${deviceId}${moduleId ? `;ModuleId=${moduleId}` : ''}`;
  if (id.sharedAccessKey) return { ...known, connectionString: `${names};SharedAccessKey=${id.sharedAccessKey}` };
  if (id.signature) return { ...known, sastoken: id.signature };
  const file = join(dir, `${deviceId}-${websockets}`);
  writeFileSync(`${file}.pem`, id.x509.cert);
  writeFileSync(`${file}.key`, id.x509.key, { mode: 0o600 });
  return { ...known, cert: `${file}.pem`, key: `${file}.key` };
}

/** Starts a device; events are [what, value] as they come. */
function start(id, transport) {
  const child = spawn(python, [join(__dirname, 'python_device.py')], {
    env: { ...process.env, DEVICE: JSON.stringify(described(id, transport === 'MQTT-WS')) }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  const events = [];
  let errors = '';
  createInterface(child.stdout).on('line', (line) => events.push(JSON.parse(line)));
  child.stderr.on('data', (text) => { errors += text; });
  const ended = new Promise((resolve) => child.once('close', resolve));
  /** Values of the events of a kind, when there are n. */
  const got = (what, n = 1) => until(`${n} of ${what}`, () => {
    if (child.exitCode !== null && child.exitCode !== 0 && what !== 'refused') throw Object.assign(new Error(`it ended with ${child.exitCode}: ${errors}`), { final: true });
    const all = events.filter((e) => e.event === what).map((e) => e.value);
    return all.length >= n && all;
  });
  return { child, got, ended };
}

async function cell(transport, credential, module) {
  const id = await identity(main, credential, 'python', { module });
  const registry = await main.registry();
  const twin = async () => (module ? await registry.getModuleTwin(id.deviceId, id.moduleId) : await registry.getTwin(id.deviceId)).responseBody;
  const { child, got, ended } = start(id, transport);
  try {
    const [first] = await got('twin');
    assert.equal(first.reported.ready, true);
    const { $metadata, ...reported } = (await twin()).properties.reported;
    assert.deepEqual(reported, { ready: true, $version: 3 });

    // It has subscribed to desired properties and methods before it asked for its twin.
    const patch = { properties: { desired: { rate: 7 } } };
    await (module ? registry.updateModuleTwin(id.deviceId, id.moduleId, patch, '*') : registry.updateTwin(id.deviceId, patch, '*'));
    const wanted = await until('the desired property', async () => {
      const all = await got('desired');
      return all.some((d) => d.rate) && all;
    });
    // The SDK asks for all of them once it is connected and hands that on, too.
    assert.deepEqual(wanted.filter((d) => d.$version !== 1), [{ rate: 7, $version: 2 }]);
    const payloads = [null, 'text', { k: [1, null] }];
    for (const payload of payloads) {
      assert.deepEqual(await main.invoke(id, 'echo', payload), { status: 203, payload: { got: payload } });
    }
    assert.deepEqual(await got('method', 3), payloads.map((p) => ['echo', p]));
    if (!module) {
      await main.send(id.deviceId, 'from the cloud', { messageId: 'c 1', properties: { 'a b': 'c&d=e/f' } });
      assert.deepEqual(await got('message'), [['from the cloud', 'c 1', { 'a b': 'c&d=e/f' }]]);
      await until('an empty queue', async () => (await main.queued(id.deviceId)).length === 0);
    }
    assert.equal((await main.invoke(id, 'stop', null)).status, 203);
    assert.equal(await ended, 0);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
  const records = await main.telemetry(id.deviceId, 21);
  assert.deepEqual(records.slice(0, 20).map((r) => r.value.i), Array.from({ length: 20 }, (_, i) => i));
  assert.equal(records[20].value.length, 262111, 'the largest body that the SDK sends');
  assert.equal(records[0].headers.auth, `${module ? 'module' : 'device'};${kinds[credential].type}`);
  assert.equal(records[0].headers.module, id.moduleId);
  assert.deepEqual(bag(records[0]), { '$.mid': 'm 0', '$.ct': 'application/json', '$.ce': 'utf-8', 'a b': 'c&d=e/f' });
}

describe('Python device SDK', { concurrency: 4, skip }, () => {
  for (const transport of checklist.transports.M) {
    for (const credential of checklist.credentials) {
      for (const what of ['device', 'module']) {
        it(`${what} ${transport} ${credential}`, { timeout: 300e3 }, () => cell(transport, credential, what === 'module'));
      }
    }
    it(`${transport}: a wrong key ends the SDK's attempts`, { timeout: 300e3 }, async () => {
      const id = await identity(main, 'SAS key', 'python-wrong');
      const { got, ended } = start({ ...id, sharedAccessKey: Buffer.alloc(32, 9).toString('base64') }, transport);
      assert.deepEqual(await got('refused'), ['CredentialError']);
      assert.equal(await ended, 3);
    });
  }
});
