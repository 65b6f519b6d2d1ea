// What the Node.js clients of the matrix share: where to connect, and how to tell what came.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const util = require('node:util');

const env = process.env;
exports.place = {
  host: env.WEIR_HOST,
  port: Number(env.WEIR_PORT),
  user: env.WEIR_USER,
  password: env.WEIR_PASSWORD,
  database: env.WEIR_DATABASE,
  ssl: { ca: fs.readFileSync(env.WEIR_CA, 'utf8'), rejectUnauthorized: true },
};

// What runs until it is cancelled; what waits for somebody else; how long a client waits for either.
exports.LONG = 'SELECT count(*) FROM generate_series(1, 20000000000)';
exports.held = (id, decision) =>
  `UPDATE accounts SET balance = balance + 1 WHERE id = ${id} /* ${decision} */`;
exports.PATIENCE = 1000;

const show = (value) =>
  typeof value === 'string' ? value : util.inspect(value, { depth: 9, breakLength: Infinity, maxArrayLength: 300 });
const say = (...values) => console.log(...values.map(show));
exports.say = say;
exports.rows = (found) => found.forEach((row) => say('row', row));
exports.sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// What a package says of itself; not every package lets itself be asked by `require`.
exports.version = (name) =>
  JSON.parse(fs.readFileSync(path.join(env.NODE_PATH, name, 'package.json'), 'utf8')).version;

exports.run = async (version, checks) => {
  console.log('@version', version);
  const only = (env.WEIR_CHECK || '').split(',').filter(Boolean);
  for (const [name, check] of Object.entries(checks)) {
    if (only.length && !only.includes(name)) continue;
    console.log('@check', name);
    try {
      await check();
    } catch (error) {
      console.log('UNEXPECTED', error.stack.replaceAll('\n', '\n  '));
    }
  }
  console.log('@end');
  process.exit(0);
};
