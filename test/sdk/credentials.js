'use strict';
// The four kinds of credential that a device or module may have, and clients of
// the SDK that show them.
const { randomBytes } = require('node:crypto');
const { AuthenticationType } = require('azure-iot-common');
const { Client, ModuleClient, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { fresh, inSeconds, signed, strict } = require('./hub.js');
const { certificate, readCA, thumbprint, DAY } = require('./pki.js');

const root = readCA(process.env.GEMELLO_DEVICE_CA);
const intermediate = certificate('SDK tests intermediate', { issuer: root, ca: true });
const stranger = certificate(root.cn, { ca: true }); // a CA of the same name that nobody trusts

const key = () => randomBytes(32).toString('base64');
const path = (id) => `/devices/${id.deviceId}${id.moduleId ? `/modules/${id.moduleId}` : ''}`;
const commonName = (id) => (id.moduleId ? `${id.deviceId}/${id.moduleId}` : id.deviceId);

const keys = () => ({ type: 'sas', symmetricKey: { primaryKey: key(), secondaryKey: key() } });
const withKey = (id, sharedAccessKey) => ({ ...id, sharedAccessKey });
const withToken = (id, signature) => ({ ...id, signature });
const withChain = (id, leaf, ...issuers) => ({ ...id, x509: { key: leaf.key, cert: [leaf, ...issuers].map((c) => c.cert).join('') } });

/** A token of a device or module signed with a key of it. */
function token(id, sharedAccessKey, ends = inSeconds(600)) {
  return signed(`${id.hub.host}${path(id)}`, sharedAccessKey, ends);
}

/** A certificate for a name signed by the intermediate CA, with its chain. */
function issued(id, cn, options) {
  return withChain(id, certificate(cn, { issuer: intermediate, ...options }), intermediate);
}

// Of each kind: make gives the authentication member of a new identity and the
// identity with its credential; good lists all that must pass for it, bad what
// must not: [what it is, identity with that credential].
const kinds = {
  'SAS key': {
    type: 'sas',
    make(id) {
      const authentication = keys();
      return [authentication, withKey({ ...id, authentication }, authentication.symmetricKey.primaryKey)];
    },
    good: (id) => [['its secondary key', withKey(id, id.authentication.symmetricKey.secondaryKey)]],
    bad: (id) => [
      ['a wrong key', withKey(id, key())],
      // A life of less than nothing makes the SDK sign tokens that have ended.
      ['an expired token', { ...id, life: [-3600, -7200] }],
    ],
  },
  'supplied SAS': {
    type: 'sas',
    make(id) {
      const authentication = keys();
      const made = { ...id, authentication };
      return [authentication, withToken(made, token(made, authentication.symmetricKey.primaryKey))];
    },
    good: (id) => [
      ['a token of its secondary key', withToken(id, token(id, id.authentication.symmetricKey.secondaryKey))],
      ['a token in a connection string', { ...id, inConnectionString: true }],
    ],
    bad: (id) => [
      ['a token of a wrong key', withToken(id, token(id, key()))],
      ['an expired token', withToken(id, token(id, id.authentication.symmetricKey.primaryKey, inSeconds(-3600)))],
    ],
  },
  'X.509 self-signed': {
    type: 'x509',
    make(id) {
      const [first, second] = [certificate('any name'), certificate('any other')];
      const x509Thumbprint = { primaryThumbprint: thumbprint(first, 'sha1'), secondaryThumbprint: thumbprint(second, 'sha256').toLowerCase() };
      const authentication = { type: 'selfSigned', x509Thumbprint };
      return [authentication, withChain({ ...id, authentication, second }, first)];
    },
    good: (id) => [['its second certificate, by SHA-256', withChain(id, id.second)]],
    bad: (id) => [
      ['another certificate', withChain(id, certificate(id.deviceId))],
      ['a certificate of the CA', issued(id, commonName(id))],
    ],
  },
  'X.509 CA': {
    type: 'x509',
    make(id) {
      return [{ type: 'certificateAuthority' }, issued(id, commonName(id))];
    },
    good: (id) => [['a certificate of the root itself', withChain(id, certificate(commonName(id), { issuer: root }))]],
    bad: (id) => [
      ['a certificate for another name', issued(id, `${commonName(id)}x`)],
      ['a certificate of a CA nobody trusts', withChain(id, certificate(commonName(id), { issuer: stranger }), stranger)],
      ['a chain without its middle', withChain(id, certificate(commonName(id), { issuer: intermediate }))],
      ['a certificate that signs itself', withChain(id, certificate(commonName(id)))],
      ['an expired certificate', issued(id, commonName(id), { from: Date.now() - 2 * DAY, until: Date.now() - DAY })],
    ],
  },
};

/** Makes a device with a credential of a kind, or a module of a device that has keys. */
async function identity(hub, kind, name, { module = false, ...more } = {}) {
  const registry = await hub.registry();
  const id = { hub, kind, deviceId: fresh(name), ...(module && { moduleId: fresh('m') }) };
  const [authentication, made] = kinds[kind].make(id);
  if (!module) return { ...made, ...(await registry.create({ deviceId: id.deviceId, authentication, ...more })).responseBody, authentication };
  await registry.create({ deviceId: id.deviceId });
  return { ...made, ...(await registry.addModule({ deviceId: id.deviceId, moduleId: id.moduleId, authentication, ...more })).responseBody, authentication };
}

/** An identity of a kind that the hub does not know. */
function unknown(hub, kind) {
  return kinds[kind].make({ hub, kind, deviceId: fresh('nobody') })[1];
}

/** A client of the SDK that shows the credential of an identity. With retry it has
 * the SDK's own policy, else none; other options are those of setOptions. */
async function client(id, Transport, { retry = false, ...options } = {}) {
  const made = construct(id, Transport);
  if (id.x509 && !id.moduleId) Object.assign(options, id.x509);
  // Over HTTPS the SDK ends setOptions with its receive policy alone.
  if (Transport.name === 'Http') options.http = { receivePolicy: { interval: 1 } };
  if (Object.keys(options).length > 0) await made.setOptions(options);
  return retry ? made : strict(made);
}

function construct(id, Transport) {
  const Class = id.moduleId ? ModuleClient : Client;
  const names = `HostName=${id.hub.host};DeviceId=${id.deviceId}${id.moduleId ? `;ModuleId=${id.moduleId}` : ''}`;
  if (id.life) {
    const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(`${names};SharedAccessKey=${id.sharedAccessKey}`, ...id.life);
    return Class.fromAuthenticationProvider(provider, Transport);
  }
  if (id.sharedAccessKey) return Class.fromConnectionString(`${names};SharedAccessKey=${id.sharedAccessKey}`, Transport);
  if (id.signature) {
    if (id.inConnectionString) return Class.fromConnectionString(`${names};SharedAccessSignature=${id.signature}`, Transport);
    return Class.fromSharedAccessSignature(id.signature, Transport);
  }
  if (!id.moduleId) return Class.fromConnectionString(`${names};x509=true`, Transport);
  // A module's connection string with x509=true is refused by the SDK; a provider
  // of the application's own is not.
  const credentials = { host: id.hub.host, deviceId: id.deviceId, moduleId: id.moduleId, x509: id.x509 };
  const provider = { type: AuthenticationType.X509, getDeviceCredentials: (callback) => callback(null, credentials), setX509Options: () => {} };
  return Class.fromAuthenticationProvider(provider, Transport);
}

module.exports = { kinds, identity, unknown, client, token, withToken };
