'use strict';
// The compatibility matrix: each row of the checklist (checklist.js), those of the
// device SDK over each of their transports with each kind of credential. A test a
// cell, named by it. What can't run yet is skipped by name with the reason; where
// the SDK itself refuses, the name says so and the test proves it.
require('./addresses.js');
const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { describe, it, test } = require('node:test');
const { Cell } = require('./cell.js');
const checklist = require('./checklist.js');

const AMQP = 'not yet: needs AMQP';
const TIMEOUT = 300e3; // ms of a cell on a slow machine
const CELLS = { device: 150, refused: 6, service: 14, AMQP: 128 + 3 };

const load = (dir, ...names) => names.map((name) => require(`./${dir}/${name}.js`));
const sessions = require('./device/sessions.js');
const deviceRows = Object.assign({}, sessions.rows, ...load('device', 'telemetry', 'commands', 'twins', 'methods', 'modules'));
const serviceRows = {};
for (const rows of load('service', 'registry', 'modules', 'twins', 'queries', 'policies', 'configurations', 'jobs', 'methods', 'manager')) {
  for (const [row, cases] of Object.entries(rows)) serviceRows[row] = { ...serviceRows[row], ...cases };
}

/** All cells of the device rows. */
function deviceCells() {
  const all = [];
  for (const [row, [, marks]] of Object.entries(checklist.device)) {
    for (const mark of marks.split(' ')) {
      for (const transport of checklist.transports[mark]) {
        for (const credential of checklist.credentials) all.push(new Cell(row, transport, credential));
      }
    }
  }
  return all;
}

const count = { device: 0, refused: 0, service: 0, AMQP: 0 };
const cells = deviceCells();

function service(row) {
  const [title, protocol] = checklist.service[row];
  if (protocol === 'AMQP') {
    count.AMQP++;
    it(`${row} ${title}`, { skip: AMQP }, () => {});
    return;
  }
  it(`${row} ${title}`, { timeout: TIMEOUT }, async (t) => {
    for (const [name, run] of Object.entries(serviceRows[row])) {
      let passed = false;
      await t.test(name, async () => {
        await run();
        passed = true;
      });
      if (!passed) return;
    }
    count.service++;
  });
}

test('each row of the checklist has its tests, and no test is without a row', () => {
  const runs = cells.filter((c) => c.Transport).map((c) => c.row);
  assert.deepEqual(Object.keys(deviceRows).sort(), [...new Set(runs)].sort());
  const https = Object.entries(checklist.service).filter(([, [, protocol]]) => protocol === 'HTTPS').map(([row]) => row);
  assert.deepEqual(Object.keys(serviceRows).sort(), https.sort());
});

test('docs/operate/sdk.md tells the state of each row', () => {
  const page = readFileSync(join(__dirname, '../../docs/operate/sdk.md'), 'utf8').split('\n');
  const { device, service } = checklist.lines();
  assert.deepEqual(page.filter((line) => /^\| [DS]\d+ /.test(line)), [...device, ...service]);
});

// Rows that count what the whole hub holds come before those that add to it.
const alone = ['S8', 'S17'];
describe('service SDK, alone', () => alone.forEach(service));
describe('service SDK', { concurrency: 4 }, () => Object.keys(checklist.service).filter((row) => !alone.includes(row)).forEach(service));
describe('device SDK', { concurrency: 12 }, () => {
  for (const cell of cells) {
    if (!cell.Transport) {
      count.AMQP++;
      it(cell.name, { skip: AMQP }, () => {});
      continue;
    }
    const refused = cell.kind.type === 'x509' && sessions.refused[cell.row];
    if (refused) {
      it(`${cell.name}: the SDK itself refuses`, { timeout: TIMEOUT }, async () => {
        await refused(cell);
        count.refused++;
      });
      continue;
    }
    it(cell.name, { timeout: TIMEOUT }, async () => {
      await deviceRows[cell.row](cell);
      count.device++;
    });
  }
});

test('all cells', () => {
  console.log(`${count.device} cells of the device SDK and ${count.service} rows of the service SDK pass; ` +
    `${count.refused} cells the SDK itself refuses; ${count.AMQP} not yet: they need AMQP`);
  assert.deepEqual(count, CELLS);
});
