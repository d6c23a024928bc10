'use strict';
// Certificates of devices: Node makes keys and signatures, the DER around them is
// written here, so that the tests need no other tool.
//
//   node pki.js DIR     makes ca.pem and ca.key, the CA that the nodes trust for devices
const { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign } = require('node:crypto');
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const DAY = 86400e3;

/** A DER element: tag, length, content. */
function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  const n = content.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

const sequence = (...parts) => der(0x30, ...parts);
const set = (...parts) => der(0x31, ...parts);
const octets = (b) => der(0x04, b);
const bits = (b, unused = 0) => der(0x03, Buffer.from([unused]), b);
const oid = (hex) => der(0x06, Buffer.from(hex, 'hex'));
const utf8 = (s) => der(0x0c, Buffer.from(s));
const yes = der(0x01, Buffer.from([0xff]));
const time = (ms) => der(0x18, Buffer.from(new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')));

const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));
const name = (cn) => sequence(set(sequence(oid('550403'), utf8(cn))));
const extension = (id, critical, value) => sequence(oid(id), ...(critical ? [yes] : []), octets(value));

const CA = [
  extension('551d13', true, sequence(yes)), // basic constraints
  extension('551d0f', true, bits(Buffer.from([0x06]), 1)), // key usage: certificates, revocation lists
];
const LEAF = [
  extension('551d13', true, sequence()),
  extension('551d0f', true, bits(Buffer.from([0x80]), 7)), // key usage: signatures
  extension('551d25', false, sequence(oid('2b06010505070302'))), // extended: client authentication
];

function pem(label, bytes) {
  return `-----BEGIN ${label}-----\n${bytes.toString('base64').match(/.{1,64}/g).join('\n')}\n-----END ${label}-----\n`;
}

/** Makes a certificate of cn that issuer has signed, or that signs itself: {cn, cert, key, der, privateKey}. */
function certificate(cn, { issuer, ca = false, from = Date.now() - DAY, until = Date.now() + 30 * DAY } = {}) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const serial = randomBytes(16);
  serial[0] = 0x40 | (serial[0] & 0x3f); // positive, without a leading zero
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, serial),
    ECDSA_SHA256,
    name((issuer ?? { cn }).cn),
    sequence(time(from), time(until)),
    name(cn),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...(ca ? CA : LEAF))),
  );
  const bytes = sequence(body, ECDSA_SHA256, bits(sign('sha256', body, (issuer ?? { privateKey }).privateKey)));
  return {
    cn, privateKey, der: bytes, cert: pem('CERTIFICATE', bytes), key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
}

/** Thumbprint of a certificate: sha1 or sha256, in upper-case hex. */
function thumbprint(c, hash) {
  return createHash(hash).update(c.der).digest('hex').toUpperCase();
}

/** The CA of `node pki.js DIR`, as an issuer. */
function readCA(dir) {
  const key = readFileSync(join(dir, 'ca.key'), 'utf8');
  return { cn: 'SDK tests device CA', cert: readFileSync(join(dir, 'ca.pem'), 'utf8'), privateKey: createPrivateKey(key) };
}

module.exports = { certificate, readCA, thumbprint, DAY };

if (require.main === module) {
  const made = certificate('SDK tests device CA', { ca: true });
  writeFileSync(join(process.argv[2], 'ca.pem'), made.cert);
  writeFileSync(join(process.argv[2], 'ca.key'), made.key, { mode: 0o600 });
}
