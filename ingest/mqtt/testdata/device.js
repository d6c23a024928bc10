'use strict';
// A device on Azure's unmodified SDK: telemetry, twin, and a renewal of the token.
const { Client, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

function desiredOf(twin, version) {
  return new Promise((resolve) => twin.on('properties.desired', (d) => { if (d.$version === version) resolve(d); }));
}

async function main(connectionString) {
  // Each token lives 4 s and is renewed after 2 s.
  const auth = SharedAccessKeyAuthenticationProvider.fromConnectionString(connectionString, 4, 2);
  const client = Client.fromAuthenticationProvider(auth, Mqtt);
  await client.open();
  const m = new Message(JSON.stringify({ temperature: 21 }));
  m.contentType = 'application/json';
  m.contentEncoding = 'utf-8';
  m.messageId = 'm 1';
  m.properties.add('a b', 'c&d=e/f');
  await client.sendEvent(m);
  const twin = await client.getTwin();
  if (twin.properties.desired.x !== 1) throw new Error('desired ' + JSON.stringify(twin.properties.desired));
  const second = desiredOf(twin, 2), third = desiredOf(twin, 3);
  await new Promise((resolve, reject) => twin.properties.reported.update({ y: 2 }, (e) => (e ? reject(e) : resolve())));
  await second;
  // The third comes after the token was renewed on a new connection.
  if ((await third).z !== 3) throw new Error('no third version');
  await client.sendEvent(new Message('last'));
  await client.close();
}

main(process.argv[2]).then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
