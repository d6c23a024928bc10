'use strict';
// Gives each connection to a node an address of its own of 127.0.0.0/8, as devices
// have: a node answers slower and slower whom it refuses often.
const net = require('node:net');

const { connect } = net.Socket.prototype;
let next = 0;

if (process.platform === 'linux') {
  net.Socket.prototype.connect = function (...args) {
    const options = Array.isArray(args[0]) ? args[0][0] : args[0];
    if (options?.host?.startsWith('127.') && !options.localAddress) {
      next = (next + 1) % 60000;
      options.localAddress = `127.44.${Math.floor(next / 250)}.${1 + (next % 250)}`;
    }
    return connect.apply(this, args);
  };
}
