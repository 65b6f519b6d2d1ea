// node pg, with pg-cursor, pg-query-stream and pg-copy-streams.
'use strict';

const { once } = require('node:events');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const copy = require('pg-copy-streams');
const { place, LONG, PATIENCE, held, say, rows, run, version } = require('./checks.cjs');

async function withClient(use, more) {
  const client = new Client({ ...place, ...more });
  client.on('error', (e) => say('connection error', e.message));
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function sqlstate(client, ...query) {
  try {
    await client.query(...query);
    say('ran');
  } catch (e) {
    say('error', e.code, e.message.includes('not today') ? 'reason' : '');
  }
  say('usable', (await client.query('SELECT 1 AS one')).rows[0].one);
}

// As `psql` does at Ctrl-C: a connection of its own carries the key of the one to cancel.
function cancelAfter(client, ms) {
  return setTimeout(() => {
    const other = new Client(place);
    other.on('error', () => {});
    other.connection.on('error', () => {});
    other.connection.connect(place.port, place.host);
    other.connection.on('connect', () => other.connection.requestSsl());
    other.connection.on('sslconnect', () => other.connection.cancel(client.processID, client.secretKey));
  }, ms);
}

const ask = { rowMode: 'array' };

const others = ['pg-cursor', 'pg-query-stream', 'pg-copy-streams'].map((name) => `${name} ${version(name)}`);

run(`${version('pg')} (${others.join(', ')})`, {
  connect: () => withClient(async (c) => {
    const status = {};
    const other = new Client({ ...place, application_name: 'matrix' });
    other.connection.on('parameterStatus', (m) => { status[m.parameterName] = m.parameterValue; });
    await other.connect();
    say(other.connection.stream.encrypted === true, status.server_version, status.server_encoding,
      status.integer_datetimes, status.standard_conforming_strings, status.application_name);
    await other.end();
    rows((await c.query('SELECT current_user, version()')).rows);
  }),
  startup: () => withClient(async (c) => {
    for (const name of ['TimeZone', 'DateStyle', 'statement_timeout', 'search_path', 'application_name', 'lock_timeout']) {
      say(name, (await c.query({ ...ask, text: `SHOW ${name}` })).rows);
    }
  }, {
    application_name: 'matrix app', statement_timeout: 54321, lock_timeout: 4321,
    options: '-c TimeZone=Asia/Tokyo -c DateStyle=German -c search_path=public',
  }),
  text: () => withClient(async (c) => {
    const found = await c.query({ ...ask, text: 'SELECT * FROM kinds ORDER BY id' });
    say(found.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize, f.tableID !== 0, f.format]));
    rows(found.rows);
    rows((await c.query({ ...ask, text: 'SELECT * FROM kinds WHERE id >= $1 ORDER BY id', values: [1] })).rows);
  }),
  binary: () => withClient(async (c) => {
    const text = 'SELECT id, yes, i2, f4, f8, t, v, b, ts, tz FROM kinds WHERE id >= $1 ORDER BY id';
    rows((await c.query({ ...ask, text, values: [1], binary: true })).rows);
  }),
  prepared: () => withClient(async (c) => {
    for (let n = 0; n < 12; n++) {
      const text = 'SELECT id, item FROM orders WHERE id > $1 ORDER BY id LIMIT 2';
      rows((await c.query({ name: 'by id', text, values: [n] })).rows);
      rows((await c.query({ name: 'binary', text, values: [n], binary: true })).rows);
    }
    await c.query('DEALLOCATE ALL');
    await sqlstate(c, { name: 'by id', text: 'SELECT id, item FROM orders WHERE id > $1 ORDER BY id LIMIT 2', values: [1] });
  }),
  params: () => withClient(async (c) => {
    for (const [cast, value] of [
      ['bool', true], ['int4', 2 ** 31 - 1], ['int8', '-9223372036854775808'], ['float8', 2.25], ['numeric', '1.0123'],
      ['text', "t ' \\ é🐘"], ['bytea', Buffer.from([0, 1, 255, 39])], ['date', '2026-02-28'],
      ['timestamptz', new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6))], ['interval', '3 days'],
      ['uuid', '01234567-89ab-cdef-0123-456789abcdef'], ['jsonb', { a: [1, null] }], ['int4[]', [1, 2, null]],
      ['text[]', ['a', null, 'b,c']], ['mood', 'happy'],
    ]) {
      for (const v of [value, null]) {
        rows((await c.query({ ...ask, text: `SELECT $1::${cast}, $1::${cast} IS NULL`, values: [v] })).rows);
      }
    }
    await sqlstate(c, 'SELECT $1::int4', ['no number']);
  }),
  transaction: () => withClient(async (c) => {
    await c.query('BEGIN');
    await c.query('INSERT INTO probe VALUES ($1)', ['kept']);
    await c.query('SAVEPOINT s');
    await sqlstate(c, 'SAVEPOINT t');
    try { await c.query('INSERT INTO probe VALUES ($1)', [null]); } catch (e) { say(e.code); }
    await c.query('ROLLBACK TO SAVEPOINT s');
    await c.query('COMMIT');
    rows((await c.query('SELECT v FROM probe ORDER BY v')).rows);
  }),
  errors: () => withClient(async (c) => {
    c.on('notice', (n) => say('notice', n.severity, n.code, n.message));
    for (const text of ['SELECT 1/0', 'SELECT nothing FROM orders', "SELECT 'x'::int", 'INSERT INTO probe VALUES (NULL)',
      'INSERT INTO kinds (id) VALUES (1)', 'SELECT sum(item) FROM orders']) {
      for (const values of [undefined, []]) {
        try {
          await c.query({ text, values, queryMode: values ? 'extended' : undefined });
        } catch (e) {
          say(e.name, e.severity, e.code, e.message, e.detail, e.hint, e.position, e.table, e.column, e.constraint);
        }
        rows((await c.query('SELECT 1')).rows);
      }
    }
    await c.query('CREATE TABLE IF NOT EXISTS probe (v text)');
  }),
  cursor: () => withClient(async (c) => {
    const cursor = c.query(new Cursor('SELECT id, item FROM orders WHERE id > $1 ORDER BY id LIMIT 30', [5]));
    for (;;) {
      const found = await cursor.read(7);
      if (!found.length) break;
      rows(found);
    }
    await cursor.close();
    const early = c.query(new Cursor('SELECT id FROM orders ORDER BY id'));
    rows(await early.read(2));
    await early.close();
    const stream = c.query(new QueryStream('SELECT id FROM orders ORDER BY id LIMIT $1', [40], { batchSize: 6 }));
    let sum = 0;
    for await (const row of stream) sum += row.id;
    say(sum);
    try {
      for await (const row of c.query(new QueryStream('SELECT 1 / (id - 20) AS x FROM orders ORDER BY id', [], { batchSize: 5 }))) say(row.x);
    } catch (e) {
      say(e.code);
    }
    rows((await c.query('SELECT 1')).rows);
  }),
  copy: () => withClient(async (c) => {
    const lines = Array.from({ length: 1000 }, (_, n) => `line ${n}\n`);
    const to = c.query(copy.from('COPY probe FROM STDIN'));
    await pipeline(Readable.from(lines), to);
    say(to.rowCount);
    const out = c.query(copy.to('COPY probe TO STDOUT'));
    let bytes = 0;
    for await (const chunk of out) bytes += chunk.length;
    say(bytes);
    const some = [];
    for await (const chunk of c.query(copy.to('COPY (SELECT id, item FROM orders ORDER BY id LIMIT 3) TO STDOUT'))) some.push(chunk);
    say(Buffer.concat(some).toString());
    await c.query('CREATE TEMP TABLE numbers (a int8, b int8)');
    await pipeline(Readable.from(['1,2\n', '3,4\n']), c.query(copy.from('COPY numbers FROM STDIN (FORMAT csv)')));
    try {
      await pipeline(Readable.from(['1\tno number\n']), c.query(copy.from('COPY numbers FROM STDIN')));
    } catch (e) {
      say(e.code, e.where);
    }
    rows((await c.query('SELECT count(*) FROM numbers')).rows);
  }),
  pipeline: () => withClient(async (c) => {
    // Queued, not waited for one by one.
    const all = Array.from({ length: 40 }, (_, n) => c.query('SELECT $1::int AS n, item FROM orders WHERE id = $1', [n + 1]));
    for (const found of await Promise.all(all)) rows(found.rows);
    const mixed = await Promise.allSettled([c.query('SELECT 1 AS n'), c.query('SELECT 1/$1::int', [0]), c.query('SELECT 2 AS n')]);
    say(mixed.map((m) => (m.reason ? m.reason.code : m.value.rows)));
  }),
  large: () => withClient(async (c) => {
    for (const size of [1 << 20, 2 << 20]) {
      const text = 'x'.repeat(size);
      const { rows: [row] } = await c.query({ ...ask, text: 'SELECT length($1), $1::text, repeat($2, $3)', values: [text, 'y', size] });
      say(row[0], row[1] === text, row[2].length);
    }
    const data = Buffer.alloc(8 << 20, 7);
    say((await c.query({ ...ask, text: 'SELECT $1::bytea', values: [data] })).rows[0][0].equals(data));
    say((await c.query("SELECT n, repeat('z', 1000) FROM generate_series(1, 10000) n")).rows.length);
  }),
  notify: () => withClient(async (c) => withClient(async (speaker) => {
    const heard = [];
    c.on('notification', (m) => heard.push([m.channel, m.payload]));
    await c.query('LISTEN matrix');
    await speaker.query("NOTIFY matrix, 'one'");
    await speaker.query("SELECT pg_notify('matrix', $1)", ['two']);
    while (heard.length < 2) await once(c, 'notification', { signal: AbortSignal.timeout(10000) });
    say(heard);
  })),
  cancel: () => withClient(async (c) => {
    const timer = cancelAfter(c, PATIENCE / 2);
    await sqlstate(c, LONG);
    clearTimeout(timer);
    await c.query('SET statement_timeout = 300');
    await sqlstate(c, LONG);
  }),
  reset: async () => {
    const pool = new Pool({ ...place, max: 2, options: '-c work_mem=5MB' });
    for (let n = 0; n < 4; n++) {
      const c = await pool.connect();
      say((await c.query('SHOW work_mem')).rows);
      await c.query("SET work_mem = '6MB'");
      await c.query('DISCARD ALL');
      c.release();
    }
    const all = await Promise.all(Array.from({ length: 10 }, (_, n) => pool.query('SELECT $1::int AS n', [n])));
    say(all.map((found) => found.rows[0].n));
    await pool.end();
  },
  introspect: () => withClient(async (c) => {
    const { rows: found } = await c.query("SELECT oid, typname, typarray FROM pg_type WHERE typname IN ('mood', 'pair', 'int4') ORDER BY typname");
    rows(found);
    rows((await c.query("SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position")).rows);
  }),
  multi: () => withClient(async (c) => {
    const found = await c.query("SELECT 1 AS a; SELECT 2 AS b, 3 AS c; INSERT INTO probe VALUES ('m'); SELECT v FROM probe WHERE v = 'm'");
    say(found.map((f) => [f.command, f.rowCount, f.rows]));
    await sqlstate(c, "SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')");
    say((await c.query("SELECT count(*) FROM probe WHERE v = 'never'")).rows);
    say((await c.query('')).command, (await c.query(' ; -- nothing')).rows);
  }),
  masked: () => withClient(async (c) => {
    const text = 'SELECT id, ssn, email, card FROM customers WHERE id > $1 ORDER BY id';
    for (const binary of [false, true, false]) {
      rows((await c.query({ ...ask, text, values: [17], binary })).rows);
      rows((await c.query({ ...ask, name: `n${binary}`, text, values: [18], binary })).rows);
    }
    const cursor = c.query(new Cursor(text, [14]));
    for (let n = 0; n < 3; n++) rows(await cursor.read(2));
    await cursor.close();
    await c.query('DISCARD ALL');
    rows((await c.query(text, [18])).rows);
  }),
  approved: () => withClient(async (c) => {
    c.on('notice', () => {});
    await sqlstate(c, held(1, 'approve'));
    await sqlstate(c, held('$1', 'approve'), [2]);
    const queued = await Promise.all([
      c.query({ ...ask, text: "SELECT 'before'" }),
      c.query({ ...ask, text: `${held('$1', 'approve')} RETURNING id, balance`, values: [3] }),
      c.query({ ...ask, text: "SELECT 'after'" }),
    ]);
    say(queued.map((q) => q.rows));
    await c.query('BEGIN');
    await sqlstate(c, held(4, 'approve'));
    await c.query('COMMIT');
    rows((await c.query('SELECT id, balance FROM accounts WHERE id < 6 ORDER BY id')).rows);
  }),
  denied: () => withClient(async (c) => {
    await sqlstate(c, held(11, 'deny'));
    await sqlstate(c, held('$1', 'deny'), [12]);
  }),
  cancelled: () => withClient(async (c) => {
    for (const query of [[held(21, 'leave')], [held('$1', 'leave'), [22]]]) {
      const timer = cancelAfter(c, PATIENCE);
      await sqlstate(c, ...query);
      clearTimeout(timer);
    }
  }),
});
