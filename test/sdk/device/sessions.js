'use strict';
// D13 to D16: tokens that are renewed, options, two clients with one id,
// connections that break.
const assert = require('node:assert/strict');
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { Message } = require('azure-iot-device');
const { token } = require('../credentials.js');
const { fresh, inSeconds, tight, until } = require('../hub.js');
const { certificate } = require('../pki.js');

/** Has a client listen for all that the hub sends; resolves when the hub knows. */
async function listen(cell, client, id) {
  const got = { messages: [], desired: [] };
  client.on('message', (m) => {
    got.messages.push(m.data.toString());
    client.complete(m).catch(() => {});
  });
  if (cell.https) return got;
  const twin = await client.getTwin();
  twin.on('properties.desired', (d) => got.desired.push(d));
  await cell.onMethod(client, id, 'echo', (request, response) => response.send(200, request.payload));
  return got;
}

/** All that a client listens for must reach it, and what it sends the hub. */
async function works(cell, client, id, got) {
  const mark = fresh('mark');
  await cell.hub.send(id.deviceId, mark);
  await until('a message from the cloud', () => got.messages.includes(mark));
  await client.sendEvent(new Message(JSON.stringify({ mark })));
  await until('its telemetry', async () => (await cell.hub.telemetry(id.deviceId)).at(-1).value.mark === mark);
  if (cell.https) return;
  await cell.setDesired(id, { mark });
  await until('a desired property', () => got.desired.some((d) => d.mark === mark));
  assert.equal((await client.getTwin()).properties.desired.mark, mark);
  assert.deepEqual(await cell.hub.invoke(id, 'echo', mark), { status: 200, payload: mark });
}

/** How often the device has connected, by the log. */
const connections = (cell, id) => cell.hub.log(id.deviceId).filter((r) => r.headers.kind === 'connected').length;

async function D13(cell) {
  const id = await cell.identity();
  if (cell.credential === 'supplied SAS') {
    return cell.using(id, async (client) => {
      const got = await listen(cell, client, id);
      for (const minutes of [20, 30]) {
        await client.updateSharedAccessSignature(token(id, id.authentication.symmetricKey.primaryKey, inSeconds(minutes * 60)));
        await works(cell, client, id, got);
      }
    });
  }
  await cell.using({ ...id, life: [3600, 900] }, async (client) => {
    const provider = client._transport._authenticationProvider;
    const got = await listen(cell, client, id);
    await client.sendEvent(new Message('{}')); // over HTTPS the first that needs a token
    let renewals = 0;
    provider.on('newTokenAvailable', () => renewals++);
    // From now on each 2 s, over MQTT on a new connection on which the client does
    // not subscribe again; then once more, but not while we look.
    provider.setTokenRenewalValues(20, 18);
    await until('two renewals by itself', () => renewals >= 3);
    provider.setTokenRenewalValues(3600, 900);
    if (!cell.https) {
      await until('the last connection', () => client._transport._mqtt._fsm.state === 'connected');
      await until('new connections', () => connections(cell, id) >= 3);
    }
    await works(cell, client, id, got);
  });
}

/** The SDK itself refuses tokens where it shows a certificate. */
async function refusesTokens(cell) {
  const id = await cell.identity();
  await cell.using(id, async (client) => {
    const tokenRenewal = { tokenValidTimeInSeconds: 3600, tokenRenewalMarginInSeconds: 900 };
    await assert.rejects(client.setOptions({ tokenRenewal }), { name: 'InvalidOperationError', message: /X509/ });
    const renewed = async () => client.updateSharedAccessSignature(token(id, Buffer.alloc(32).toString('base64')), () => {});
    await assert.rejects(renewed(), { name: 'TypeError', message: /updateSharedAccessSignature is not a function/ });
    await client.sendEvent(new Message('{}'));
  });
}

async function D14(cell) {
  const id = await cell.identity();
  const dir = mkdtempSync(join(tmpdir(), 'sdk-'));
  try {
    const wrong = join(dir, 'wrong.pem');
    writeFileSync(wrong, certificate('nobody', { ca: true }).cert);
    const stranger = await cell.client(id, { ca: wrong });
    const open = cell.https ? stranger.open().then(() => stranger.sendEvent(new Message('{}'))) : stranger.open();
    await assert.rejects(open, /certificate|self.signed|issuer/i, 'a hub whose CA is not trusted');
    await stranger.close().catch(() => {});
  } finally {
    rmSync(dir, { recursive: true });
  }
  const modelId = `dtmi:com:example:${cell.https ? 'none' : 'Sensor'};1`;
  const options = { ca: join(cell.hub.data, 'pki', 'ca.pem'), productInfo: 'tests (x; y) é/&=', modelId, keepalive: 30 };
  if (cell.https) options.productInfo = 'tests (x; y)'; // a header, which has no é
  const tokenRenewal = { tokenValidTimeInSeconds: 7200, tokenRenewalMarginInSeconds: 600 };
  if (cell.credential === 'SAS key') options.tokenRenewal = tokenRenewal;
  await cell.using(id, async (client) => {
    await client.sendEvent(new Message('{}'));
    // The SDK itself refuses to renew what it did not sign.
    if (cell.credential !== 'SAS key') await assert.rejects(client.setOptions({ tokenRenewal }), { name: 'InvalidOperationError' });
    else assert.ok(client._transport._authenticationProvider._currentTokenExpiryTimeInSeconds > inSeconds(6000));
  }, options);
  await cell.hub.telemetry(id.deviceId);
  if (!cell.https) assert.equal((await cell.twin(id)).modelId, modelId);
}

async function D15(cell) {
  const id = await cell.identity();
  await cell.using(id, async (old) => {
    const dropped = new Promise((resolve) => old.once('disconnect', resolve));
    await old.sendEvent(new Message('{"from":"old"}'));
    await cell.using(id, async (client) => {
      await dropped;
      await client.sendEvent(new Message('{"from":"new"}'));
      assert.equal((await cell.twin(id)).connectionState, 'Connected');
    });
  });
  const records = await cell.hub.telemetry(id.deviceId, 2);
  assert.deepEqual(records.map((r) => r.value.from), ['old', 'new']);
}

async function D16(cell) {
  const id = await cell.identity();
  if (!cell.https) {
    await cell.using(id, async (client) => {
      const got = await listen(cell, client, id);
      await works(cell, client, id, got);
      const before = connections(cell, id);
      client._transport._mqtt._mqttClient.stream.destroy(); // as a network does that breaks
      await cell.hub.send(id.deviceId, 'while it is away');
      await until('a new connection', () => connections(cell, id) > before);
      await until('the message', () => got.messages.includes('while it is away'));
      await until('methods again', async () => (await cell.hub.invoke(id, 'echo', 1)).payload === 1);
      await works(cell, client, id, got);
    }, { retry: true });
  }
  if (!tight) return;
  const low = cell.on(tight);
  await (cell.https ? throttledRequests : throttledConnections)(low, await low.identity());
}

/** Too many messages over HTTPS are answered with 429, which the SDK hands on; later ones pass. */
async function throttledRequests(cell, id) {
  await cell.using(id, async (client) => {
    const refused = await until('a refusal', () => client.sendEvent(new Message('{}')).then(() => false, (e) => e));
    assert.equal(refused.response.statusCode, 429);
    assert.ok(+refused.response.headers['retry-after'] > 0);
    await until('room', () => client.sendEvent(new Message('{}')).then(() => true));
  });
}

/** Too many connections get CONNACK 3, which the SDK calls ServiceUnavailable, and tries again. */
async function throttledConnections(cell, id) {
  const refused = await until('a refusal', () => cell.using(id, () => false).catch((e) => e));
  assert.equal(refused.name, 'ServiceUnavailableError');
  await cell.using(id, (client) => client.sendEvent(new Message('{}')), { retry: true });
}

/** Rows that the SDK itself refuses for certificates, with the proof that it does. */
const refused = { D13: refusesTokens };

module.exports = { rows: { D13, D14, D15, D16 }, refused };
