'use strict';

/** Collects the tests of rows: row(NAME, TITLE, f) adds one, rows is {NAME: {TITLE: f}}. */
function collect() {
  const rows = {};
  const row = (name, title, f) => {
    rows[name] ??= {};
    rows[name][title] = f;
  };
  return { rows, row };
}

module.exports = { collect };
