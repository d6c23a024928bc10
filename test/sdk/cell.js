'use strict';
// A cell of the matrix: a row of the checklist over one transport with one kind
// of credential.
const { Http } = require('azure-iot-device-http');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const credentials = require('./credentials.js');
const hub = require('./hub.js');

const constructors = { MQTT: Mqtt, 'MQTT-WS': MqttWs, HTTPS: Http };

class Cell {
  constructor(row, transport, credential) {
    Object.assign(this, { row, transport, credential, Transport: constructors[transport], hub: hub.main });
    this.kind = credentials.kinds[credential];
    this.https = transport === 'HTTPS';
    this.name = `${row} ${transport} ${credential}`;
  }

  /** Makes a device, or with {module: true} a module, that has this kind of credential. */
  identity(more) {
    return credentials.identity(this.hub, this.credential, this.row.toLowerCase(), more);
  }

  /** This cell on another node. */
  on(node) {
    return Object.assign(Object.create(Object.getPrototypeOf(this)), this, { hub: node });
  }

  unknown() {
    return credentials.unknown(this.hub, this.credential);
  }

  /** A client that is not yet open; options are those of setOptions, and retry. */
  client(id, options) {
    return credentials.client(id, this.Transport, options);
  }

  /** Opens a client, hands it to f and closes it. */
  async using(id, f, options) {
    return hub.using(await this.client(id, options), f);
  }

  /** The service's view of the identity's twin. */
  async twin(id) {
    const registry = await this.hub.registry();
    const { responseBody } = id.moduleId ? await registry.getModuleTwin(id.deviceId, id.moduleId) : await registry.getTwin(id.deviceId);
    return responseBody;
  }

  /** Sets desired properties as the service does. */
  async setDesired(id, patch) {
    const registry = await this.hub.registry();
    const body = { properties: { desired: patch } };
    await (id.moduleId ? registry.updateModuleTwin(id.deviceId, id.moduleId, body, '*') : registry.updateTwin(id.deviceId, body, '*'));
  }

  /** Has a handler answer a method; resolves when the hub knows of it. */
  async onMethod(client, id, name, handler) {
    const on = (n, h) => (id.moduleId ? client.onMethod(n, h) : client.onDeviceMethod(n, h));
    on(name, handler);
    // The SDK does not say when it has subscribed: ask until the device is asked.
    on('ready', (request, response) => response.send(200));
    await hub.until('the subscription', async () => (await this.hub.invoke(id, 'ready', null)).status === 200);
  }
}

module.exports = { Cell };
