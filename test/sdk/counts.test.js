'use strict';
// 20 devices send 1,000 messages each; a pipeline counts them in windows.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { main, fresh, strict, until } = require('./hub.js');

const DEVICES = 20;
const MESSAGES = 1000;
const IN_FLIGHT = 32; // of each device

const clientOf = (device) => Client.fromConnectionString(device.connectionString, Mqtt);

/** A pipeline of its own with windows of two seconds; returns its result topic. */
async function countingPipeline(prefix) {
  const name = fresh('counts');
  await main.gemello('pipeline', 'apply', name, '--query', `
    SELECT deviceId, COUNT(*) AS n, SUM(seq) AS total, System.Timestamp() AS windowEnd
    INTO [${name}] FROM devices WHERE deviceId LIKE '${prefix}-%'
    GROUP BY deviceId, TumblingWindow(second, 2)`);
  await until(`pipeline ${name} runs`, async () => {
    const all = JSON.parse(await main.gemello('pipeline', 'list', '--json'));
    const p = all.find((x) => x.name === name);
    return p?.state === 'running' && p.partitions.length === 4;
  });
  return name;
}

async function createFleet(prefix) {
  return Promise.all(Array.from({ length: DEVICES }, () => main.createDevice(prefix)));
}

function message(seq) {
  const m = new Message(JSON.stringify({ seq, temperature: 20 + (seq % 7) }));
  m.contentType = 'application/json';
  m.contentEncoding = 'utf-8';
  m.messageId = `m-${seq}`;
  m.properties.add('shift', `early & late=${seq}/2`);
  return m;
}

/** Sends all messages of a device, at most IN_FLIGHT at a time. */
async function sendAll(client, send) {
  let next = 0;
  const worker = async () => {
    while (next < MESSAGES) await send(client, next++);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

/** Rows of the result topic, once their counts sum up to n or can't any more. */
async function rowsOf(topic, ids, n) {
  let rows = [];
  await until(`windows that hold ${n} messages`, async () => {
    rows = (await main.records(topic)).map((r) => r.value).filter((r) => ids.has(r.deviceId));
    return rows.reduce((sum, r) => sum + r.n, 0) >= n;
  }, 60000);
  return rows;
}

function assertWindowsOnce(rows) {
  const seen = new Set();
  for (const r of rows) {
    const key = `${r.deviceId} ${r.windowEnd}`;
    assert.ok(!seen.has(key), `two rows for ${key}`);
    seen.add(key);
  }
}

/** Sum of a column by device. */
function sums(rows, column) {
  const by = {};
  for (const r of rows) by[r.deviceId] = (by[r.deviceId] ?? 0) + r[column];
  return by;
}

test('20 devices send 1,000 messages each: all resolve, each is counted once', async () => {
  const prefix = 'fleet';
  const topic = await countingPipeline(prefix);
  const devices = await createFleet(prefix);
  const clients = devices.map(clientOf);
  await Promise.all(clients.map((c) => c.open()));
  await Promise.all(clients.map((c) => sendAll(c, (client, seq) => client.sendEvent(message(seq)))));
  await Promise.all(clients.map((c) => c.close()));

  const ids = new Set(devices.map((d) => d.deviceId));
  const rows = await rowsOf(topic, ids, DEVICES * MESSAGES);
  assertWindowsOnce(rows);
  const n = sums(rows, 'n'), total = sums(rows, 'total');
  for (const id of ids) {
    assert.equal(n[id], MESSAGES, id);
    assert.equal(total[id], (MESSAGES * (MESSAGES - 1)) / 2, id);
  }
});

test('the node is killed while they send: what resolved is counted, only what was sent again may be twice', async () => {
  const prefix = 'killed';
  const topic = await countingPipeline(prefix);
  const devices = await createFleet(prefix);

  // The application's own retry, so that it is known what was sent how often.
  const sent = new Map(devices.map((d) => [d.deviceId, new Array(MESSAGES).fill(0)]));
  let resolved = 0;
  let killed;
  const kill = async () => {
    const { pid, startedAt } = main.info();
    process.kill(pid, 'SIGKILL');
    await until('the node is back', () => main.info().startedAt !== startedAt);
  };
  const run = async (device) => {
    let client, opening;
    // One connection at a time; a client that failed is left for a new one.
    const connected = () => {
      opening ??= until(`${device.deviceId} connects`, async () => {
        const c = strict(clientOf(device));
        try {
          await c.open();
        } catch (e) {
          await c.close().catch(() => {});
          throw e;
        }
        client = c;
        return c;
      }, 60000);
      return opening;
    };
    await sendAll(null, async (_, seq) => {
      for (;;) {
        const c = await connected();
        sent.get(device.deviceId)[seq]++;
        try {
          await c.sendEvent(message(seq));
        } catch (e) {
          if (c === client) {
            client = opening = undefined;
            await c.close().catch(() => {});
          }
          continue;
        }
        if (++resolved === (DEVICES * MESSAGES) / 2) killed = kill();
        return;
      }
    });
    await client?.close();
  };
  await Promise.all(devices.map(run));
  assert.ok(killed, 'the node was not killed');
  await killed;

  // The log is the truth of how often each message arrived.
  const ids = new Set(devices.map((d) => d.deviceId));
  const arrived = new Map(devices.map((d) => [d.deviceId, new Array(MESSAGES).fill(0)]));
  for (const r of await main.records('gemello.device-log')) {
    if (ids.has(r.key) && r.headers.kind === 'telemetry') arrived.get(r.key)[r.value.seq]++;
  }
  let all = 0, again = 0;
  for (const id of ids) {
    for (let seq = 0; seq < MESSAGES; seq++) {
      const got = arrived.get(id)[seq], tries = sent.get(id)[seq];
      assert.ok(got >= 1 && got <= tries, `${id} ${seq}: sent ${tries} times, arrived ${got} times`);
      all += got;
      again += got - 1;
    }
  }
  const rows = await rowsOf(topic, ids, all);
  assertWindowsOnce(rows);
  const n = sums(rows, 'n'), total = sums(rows, 'total');
  for (const id of ids) {
    assert.equal(n[id], arrived.get(id).reduce((a, b) => a + b), id);
    assert.equal(total[id], arrived.get(id).reduce((sum, k, seq) => sum + k * seq, 0), id);
  }
  console.log(`${all} messages in the log and in the windows, ${again} of them a second time`);
});
