'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { JobClient } = require('azure-iothub');
const hub = require('./hub.js');

async function jobs() {
  return JobClient.fromConnectionString(await hub.policy('iothubowner'));
}

/** Waits until the job has ended and returns it. */
function ended(client, id) {
  return hub.until(`job ${id} ends`, async () => {
    const { jobStatus } = await client.getJob(id);
    return ['completed', 'failed', 'cancelled'].includes(jobStatus.status) && jobStatus;
  });
}

async function rows(query) {
  const all = [];
  while (query.hasMoreResults) all.push(...(await query.next()).result);
  return all;
}

test('S11: scheduleTwinUpdate changes the devices of its condition', async () => {
  const client = await jobs();
  const r = await hub.registry();
  const id = hub.fresh('s11-twin');
  await r.create({ deviceId: id });
  const jobId = hub.fresh('job');
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

test('S11: scheduleDeviceMethod, its rows, and the list of jobs', async () => {
  const client = await jobs();
  const r = await hub.registry();
  const id = hub.fresh('s11-method');
  await r.create({ deviceId: id });
  const jobId = hub.fresh('job');
  const params = { methodName: 'reboot', payload: null, responseTimeoutInSeconds: 15 };
  await client.scheduleDeviceMethod(jobId, `deviceId = '${id}'`, params, new Date(), 1);
  const done = await ended(client, jobId);
  assert.equal(done.deviceJobStatistics.failedCount, 1); // it is offline
  const found = await rows(r.createQuery(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${jobId}'`, 10));
  assert.equal(found.length, 1);
  assert.equal(found[0].deviceId, id);
  assert.equal(found[0].jobType, 'scheduleDeviceMethod');
  assert.equal(found[0].status, 'failed');
  const listed = await rows(client.createQuery('scheduleDeviceMethod', 'completed', 1));
  assert.ok(listed.some((j) => j.jobId === jobId));
  await r.delete(id);
});

test('S11: a job with a start to come is cancelled', async () => {
  const client = await jobs();
  const jobId = hub.fresh('job');
  const start = new Date(Date.now() + 3600e3);
  const made = (await client.scheduleTwinUpdate(jobId, '*', { etag: '*', tags: { never: 1 } }, start, 120)).jobStatus;
  assert.equal(made.status, 'queued');
  assert.equal((await client.cancelJob(jobId)).jobStatus.status, 'cancelled');
  await assert.rejects(client.getJob(hub.fresh('none')));
});
