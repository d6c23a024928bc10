'use strict';
// The compatibility checklist of azure-iot-wire 13.1 and 13.2, row by row: what
// must be shown, over which transports. M is MQTT and MQTT over a WebSocket, A is
// AMQP and AMQP over a WebSocket, H is HTTPS. Rows that are not here belong to
// file upload (D11, D12, S10), the edge (D19) or Microsoft's directory (S19).
//
//   node checklist.js   prints the tables of docs/operate/sdk.md
const device = {
  D1: ['fromConnectionString, fromSharedAccessSignature, open', 'M A H'],
  D2: ['open with a wrong credential, unknown and disabled devices', 'M A H'],
  D3: ['sendEvent', 'M A H'],
  D4: ['sendEventBatch', 'H'],
  D5: ["on('message'), complete", 'M A H'],
  D6: ['abandon, reject', 'A H'],
  D7: ['getTwin, listeners of desired properties', 'M A'],
  D8: ['reported.update', 'M A'],
  D9: ['desired properties set while offline', 'M A'],
  D10: ['onDeviceMethod and its response', 'M A'],
  D13: ['updateSharedAccessSignature, renewal of tokens', 'M A H'],
  D14: ['setOptions', 'M A H'],
  D15: ['two clients with one id', 'M A'],
  D16: ['reconnecting, retry policy, throttle replies', 'M A H'],
  D17: ['ModuleClient: sendEvent, twin, methods', 'M A'],
  D18: ['ModuleClient: sendOutputEvent, inputMessage', 'M A'],
  D20: ['components of plug and play', 'M A'],
};

const service = {
  S1: ['Registry: create, get, update, delete, list', 'HTTPS'],
  S2: ['Registry: addDevices, updateDevices, removeDevices', 'HTTPS'],
  S3: ['Registry: scopes of edge devices and their children', 'HTTPS'],
  S4: ['Registry: modules', 'HTTPS'],
  S5: ['Registry: getTwin, updateTwin, module twins, etags', 'HTTPS'],
  S6: ['Twin.update', 'HTTPS'],
  S7: ['Registry: createQuery', 'HTTPS'],
  S8: ['Registry: getRegistryStatistics', 'HTTPS'],
  S9: ['Registry: configurations', 'HTTPS'],
  S11: ['JobClient', 'HTTPS'],
  S12: ['Client: open, close, send', 'AMQP'],
  S13: ['Client: getFeedbackReceiver', 'AMQP'],
  S14: ['Client: getFileNotificationReceiver', 'AMQP'],
  S15: ['Client: invokeDeviceMethod', 'HTTPS'],
  S16: ['DigitalTwinClient', 'HTTPS'],
  S17: ['IoTHubRegistryManager', 'HTTPS'],
  S18: ['tokens in place of connection strings, rights of policies', 'HTTPS'],
};

const transports = { M: ['MQTT', 'MQTT-WS'], A: ['AMQP', 'AMQP-WS'], H: ['HTTPS'] };
const credentials = ['SAS key', 'supplied SAS', 'X.509 self-signed', 'X.509 CA'];

/** The lines of docs/operate/sdk.md about the rows. */
function lines() {
  const yes = (marks, mark) => (marks.includes(mark) ? 'yes' : '–');
  const later = (marks) => (marks.includes('A') ? 'not yet' : '–');
  return {
    device: Object.entries(device).map(([row, [title, marks]]) => `| ${row} | ${title} | ${yes(marks, 'M')} | ${yes(marks, 'H')} | ${later(marks)} |`),
    service: Object.entries(service).map(([row, [title, protocol]]) => `| ${row} | ${title} | ${protocol === 'AMQP' ? 'not yet: needs AMQP' : 'yes'} |`),
  };
}

module.exports = { device, service, transports, credentials, lines };

if (require.main === module) console.log(Object.values(lines()).map((all) => all.join('\n')).join('\n\n'));
