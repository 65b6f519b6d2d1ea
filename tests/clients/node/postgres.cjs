// postgres.js: pipelines everything, prepares everything.
'use strict';

const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const postgres = require('postgres');
const { place, LONG, PATIENCE, held, say, rows, sleep, run, version } = require('./checks.cjs');

async function withSql(use, more = {}) {
  const notices = [];
  const { user, ...rest } = place;
  const sql = postgres({ ...rest, username: user, max: 1, onnotice: (n) => notices.push(n), ...more });
  try {
    return await use(sql, notices);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function sqlstate(sql, query) {
  try {
    await query;
    say('ran');
  } catch (e) {
    say('error', e.code, e.message.includes('not today') ? 'reason' : '');
  }
  say('usable', (await sql`SELECT 1 AS one`)[0].one);
}

run(version('postgres'), {
  connect: () => withSql(async (sql) => {
    rows(await sql`SELECT current_user, version()`);
    rows(await sql`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`);
    say(sql.parameters.server_version, sql.parameters.server_encoding, sql.parameters.integer_datetimes, sql.parameters.application_name);
  }, { connection: { application_name: 'matrix' } }),
  startup: () => withSql(async (sql) => {
    for (const name of ['TimeZone', 'DateStyle', 'statement_timeout', 'search_path', 'application_name']) {
      rows(await sql.unsafe(`SHOW ${name}`));
    }
  }, { connection: { application_name: 'matrix app', TimeZone: 'Asia/Tokyo', DateStyle: 'German', statement_timeout: 54321, search_path: 'public' } }),
  text: () => withSql(async (sql) => {
    const found = await sql`SELECT * FROM kinds ORDER BY id`;
    say(found.columns.map((c) => [c.name, c.type, c.table !== 0]));
    rows(found);
    rows(await sql.unsafe('SELECT * FROM kinds ORDER BY id').values());
    rows(await sql`SELECT * FROM kinds ORDER BY id`.raw());
  }),
  prepared: () => withSql(async (sql) => {
    for (let n = 0; n < 12; n++) rows(await sql`SELECT id, item FROM orders WHERE id > ${n} ORDER BY id LIMIT 2`);
    rows(await sql`SELECT id, item FROM orders WHERE id > ${3} ORDER BY id LIMIT 2`.simple().catch((e) => [e.code || e.message]));
    const described = await sql`SELECT id, item FROM orders WHERE id = ${1}`.describe();
    say(described.types);
  }),
  params: () => withSql(async (sql) => {
    for (const [cast, value] of [
      ['bool', true], ['int4', 2147483647], ['int8', '-9223372036854775808'], ['float8', 2.25], ['numeric', '1.0123'],
      ['text', "t ' \\ é🐘"], ['bytea', Buffer.from([0, 1, 255, 39])], ['date', '2026-02-28'],
      ['timestamptz', new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6))], ['interval', '3 days'],
      ['uuid', '01234567-89ab-cdef-0123-456789abcdef'], ['jsonb', { a: [1, null] }], ['int4[]', [1, 2]], ['text[]', ['a', 'b,c']],
    ]) {
      for (const v of [value, null]) rows(await sql.unsafe(`SELECT $1::${cast} AS v, $1::${cast} IS NULL AS n`, [v]));
    }
    rows(await sql`INSERT INTO probe ${sql([{ v: 'one' }, { v: 'two' }])} RETURNING *`);
    rows(await sql`SELECT id FROM orders WHERE id IN ${sql([1, 2, 3])} ORDER BY id`);
  }),
  transaction: () => withSql(async (sql) => {
    await sql.begin(async (tx) => {
      await tx`INSERT INTO probe VALUES ('kept')`;
      await tx.savepoint(async (sp) => {
        await sp`INSERT INTO probe VALUES ('lost')`;
        await sp`SELECT 1/0`;
      }).catch((e) => say('rolled back to the savepoint', e.code));
    });
    await sql.begin('isolation level serializable read only', (tx) => tx`INSERT INTO probe VALUES ('no')`).catch((e) => say(e.code));
    rows(await sql`SELECT v FROM probe ORDER BY v`);
  }),
  errors: () => withSql(async (sql, notices) => {
    for (const text of ['SELECT 1/0', 'SELECT nothing FROM orders', "SELECT 'x'::int", 'INSERT INTO probe VALUES (NULL)',
      'INSERT INTO kinds (id) VALUES (1)', 'SELECT sum(item) FROM orders']) {
      await sql.unsafe(text).catch((e) => say(e.name, e.severity, e.code, e.message, e.detail, e.position, e.table_name, e.column_name, e.constraint_name));
      await sql.unsafe(text, [], { prepare: true }).catch((e) => say(e.code));
      rows(await sql`SELECT 1 AS one`);
    }
    await sql`CREATE TABLE IF NOT EXISTS probe (v text)`;
    say(notices.map((n) => [n.severity, n.code, n.message]));
  }),
  cursor: () => withSql(async (sql) => {
    for await (const some of sql`SELECT id, item FROM orders ORDER BY id LIMIT 30`.cursor(7)) rows(some);
    let seen = 0;
    await sql`SELECT id FROM orders ORDER BY id`.cursor(10, () => (++seen === 3 ? sql.CLOSE : undefined));
    say(seen);
    let sum = 0;
    await sql`SELECT id FROM orders`.forEach((row) => { sum += row.id; });
    say(sum);
  }),
  copy: () => withSql(async (sql) => {
    await pipeline(Readable.from(Array.from({ length: 1000 }, (_, n) => `line ${n}\n`)), await sql`COPY probe FROM STDIN`.writable());
    let bytes = 0;
    for await (const chunk of await sql`COPY probe TO STDOUT`.readable()) bytes += chunk.length;
    say(bytes);
    rows(await sql`SELECT count(*) FROM probe`);
  }),
  pipeline: () => withSql(async (sql) => {
    const all = await Promise.all(Array.from({ length: 60 }, (_, n) => sql`SELECT ${n}::int AS n, item FROM orders WHERE id = ${n + 1}`));
    say(all.map((found) => [found[0].n, found[0].item]));
    const mixed = await Promise.allSettled([sql`SELECT 1 AS n`, sql`SELECT 1/${0}::int`, sql`SELECT 2 AS n`]);
    say(mixed.map((m) => (m.reason ? m.reason.code : m.value[0].n)));
    say(await sql.begin((tx) => [tx`INSERT INTO probe VALUES ('p')`, tx`SELECT count(*) FROM probe WHERE v = 'p'`]));
  }),
  large: () => withSql(async (sql) => {
    for (const size of [1 << 20, 2 << 20]) {
      const text = 'x'.repeat(size);
      const [row] = await sql`SELECT length(${text}) AS l, ${text}::text AS t, repeat('y', ${size}) AS r`;
      say(row.l, row.t === text, row.r.length);
    }
    say((await sql`SELECT n, repeat('z', 1000) FROM generate_series(1, 10000) n`).length);
  }),
  notify: () => withSql(async (sql) => {
    const heard = [];
    await sql.listen('matrix', (payload) => heard.push(payload));
    await sql.notify('matrix', 'one');
    await sql.notify('matrix', 'two');
    for (let n = 0; n < 200 && heard.length < 2; n++) await sleep(50);
    say(heard);
  }),
  cancel: () => withSql(async (sql) => {
    const query = sql.unsafe(LONG);
    setTimeout(() => query.cancel(), PATIENCE / 2);
    await sqlstate(sql, query);
    await sql`SET statement_timeout = 300`;
    await sqlstate(sql, sql.unsafe(LONG));
  }),
  reset: () => withSql(async (sql) => {
    const reserved = await sql.reserve();
    await reserved`SET work_mem = '6MB'`;
    await reserved`RESET ALL`;
    rows(await reserved`SHOW work_mem`);
    reserved.release();
    rows(await sql`SELECT 1 AS one`);
  }, { connection: { work_mem: '5MB' } }),
  introspect: () => withSql(async (sql) => {
    // It asks for the array types of the database when it connects.
    rows(await sql`SELECT ARRAY['sad', 'ok']::mood[] AS moods, (7, 'seven')::pair AS p`);
    say(Object.keys(sql.options.parsers).length);
  }, { fetch_types: true }),
  multi: () => withSql(async (sql) => {
    say((await sql`SELECT 1 AS a; SELECT 2 AS b, 3 AS c; INSERT INTO probe VALUES ('m')`.simple()).map((r) => [r.command, r.count, [...r]]));
    await sqlstate(sql, sql.unsafe("SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')"));
    rows(await sql`SELECT count(*) FROM probe WHERE v = 'never'`);
  }),
  masked: () => withSql(async (sql) => {
    for (let n = 0; n < 3; n++) rows(await sql`SELECT id, ssn, email, card FROM customers WHERE id > ${17} ORDER BY id`);
    rows(await sql.unsafe('SELECT id, ssn, email, card FROM customers WHERE id > 17 ORDER BY id').simple());
    for await (const some of sql`SELECT id, ssn, email, card FROM customers WHERE id > ${14} ORDER BY id`.cursor(2)) rows(some);
    rows(await Promise.all([4, 5].map((n) => sql`SELECT id, ssn, email, card FROM customers WHERE id = ${n}`)));
  }),
  approved: () => withSql(async (sql) => {
    await sqlstate(sql, sql.unsafe(held(1, 'approve')));
    await sqlstate(sql, sql.unsafe(held('$1', 'approve'), [2]));
    say(await Promise.all([sql`SELECT 'before' AS v`, sql.unsafe(`${held('$1', 'approve')} RETURNING id, balance`, [3]), sql`SELECT 'after' AS v`]));
    await sql.begin(async (tx) => { await tx.unsafe(held(4, 'approve')); });
    rows(await sql`SELECT id, balance FROM accounts WHERE id < 6 ORDER BY id`);
  }),
  denied: () => withSql(async (sql) => {
    await sqlstate(sql, sql.unsafe(held(11, 'deny')));
    await sqlstate(sql, sql.unsafe(held('$1', 'deny'), [12]));
  }),
  cancelled: () => withSql(async (sql) => {
    for (const query of [() => sql.unsafe(held(21, 'leave')), () => sql.unsafe(held('$1', 'leave'), [22])]) {
      const waiting = query();
      const timer = setTimeout(() => waiting.cancel(), PATIENCE);
      await sqlstate(sql, waiting);
      clearTimeout(timer);
    }
  }),
});
