'use strict';
// S11: jobs.
const assert = require('node:assert/strict');
const { JobClient } = require('azure-iothub');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { collect } = require('../collect.js');
const { main, fresh, rowsOf, until, using } = require('../hub.js');

const { rows, row } = collect();

async function jobs() {
  return JobClient.fromConnectionString(await main.policy());
}

/** Waits until the job has ended and returns it. */
function ended(client, id) {
  return until(`job ${id} ends`, async () => {
    const { jobStatus } = await client.getJob(id);
    return ['completed', 'failed', 'cancelled'].includes(jobStatus.status) && jobStatus;
  });
}

row('S11', 'scheduleTwinUpdate changes the devices of its condition', async () => {
  const client = await jobs();
  const r = await main.registry();
  const id = fresh('s11-twin');
  await r.create({ deviceId: id });
  const jobId = fresh('job');
  const patch = { etag: '*', tags: { ring: 1 }, properties: { desired: { rate: 5 } } };
  const made = (await client.scheduleTwinUpdate(jobId, `deviceId = '${id}'`, patch, new Date(), 120)).jobStatus;
  assert.equal(made.jobId, jobId);
  assert.equal(made.type, 'scheduleUpdateTwin');
  assert.equal(made.status, 'queued');
  const done = await ended(client, jobId);
  assert.equal(done.status, 'completed');
  assert.equal(done.deviceJobStatistics.deviceCount, 1);
  assert.equal(done.deviceJobStatistics.succeededCount, 1);
  const twin = (await r.getTwin(id)).responseBody;
  assert.equal(twin.tags.ring, 1);
  assert.equal(twin.properties.desired.rate, 5);
  await assert.rejects(client.scheduleTwinUpdate(jobId, `deviceId = '${id}'`, patch, new Date(), 120), { name: 'DeviceAlreadyExistsError' });
  await r.delete(id);
});

row('S11', 'scheduleDeviceMethod, its rows, and the list of jobs', async () => {
  const client = await jobs();
  const r = await main.registry();
  const id = fresh('s11-method');
  await r.create({ deviceId: id });
  const jobId = fresh('job');
  const params = { methodName: 'reboot', payload: null, responseTimeoutInSeconds: 15 };
  await client.scheduleDeviceMethod(jobId, `deviceId = '${id}'`, params, new Date(), 1);
  const done = await ended(client, jobId);
  assert.equal(done.deviceJobStatistics.failedCount, 1); // it is offline
  const found = await rowsOf(r.createQuery(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${jobId}'`, 10));
  assert.equal(found.length, 1);
  assert.equal(found[0].deviceId, id);
  assert.equal(found[0].jobType, 'scheduleDeviceMethod');
  assert.equal(found[0].status, 'failed');
  const listed = await rowsOf(client.createQuery('scheduleDeviceMethod', 'completed', 1));
  assert.ok(listed.some((j) => j.jobId === jobId));
  await r.delete(id);
});

row('S11', 'scheduleDeviceMethod calls devices that are connected and keeps what they answer', async () => {
  const client = await jobs();
  const device = await main.createDevice('s11-online');
  const jobId = fresh('job');
  await using(Client.fromConnectionString(device.connectionString, Mqtt), async (c) => {
    c.onDeviceMethod('reboot', (request, response) => response.send(202, { got: request.payload }));
    await until('the subscription', () => main.invoke(device.deviceId, 'reboot', null));
    const params = { methodName: 'reboot', payload: { delay: 5 }, responseTimeoutInSeconds: 60 };
    await client.scheduleDeviceMethod(jobId, `deviceId = '${device.deviceId}'`, params, new Date(), 300);
    const done = await ended(client, jobId);
    assert.deepEqual([done.status, done.deviceJobStatistics.succeededCount], ['completed', 1]);
  });
  const [found] = await rowsOf((await main.registry()).createQuery(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${jobId}'`));
  assert.deepEqual(found.outcome, { deviceMethodResponse: { status: 202, payload: { got: { delay: 5 } } } });
});

row('S11', 'a job with a start to come is cancelled', async () => {
  const client = await jobs();
  const jobId = fresh('job');
  const start = new Date(Date.now() + 3600e3);
  const made = (await client.scheduleTwinUpdate(jobId, '*', { etag: '*', tags: { never: 1 } }, start, 120)).jobStatus;
  assert.equal(made.status, 'queued');
  assert.equal((await client.cancelJob(jobId)).jobStatus.status, 'cancelled');
  await assert.rejects(client.getJob(fresh('none')));
});

module.exports = rows;
