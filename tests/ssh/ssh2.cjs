// What ssh2 for Node.js does on an SSH host; prints what it saw.
const { Client } = require('ssh2');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const env = process.env;
const how = env.PASSWORD ? { password: env.PASSWORD } : { privateKey: fs.readFileSync(env.KEY) };
const c = new Client();

function run(command, data, options) {
  return new Promise((done, failed) => {
    c.exec(command, options || {}, (error, stream) => {
      if (error) return failed(error);
      const out = [], err = [];
      let ended = null;
      stream.on('data', (d) => out.push(d));
      stream.stderr.on('data', (d) => err.push(d));
      stream.on('exit', (code, signal) => { ended = [code, signal]; });
      stream.on('close', () => {
        const whole = Buffer.concat(out);
        console.log(command.slice(0, 60), ended, whole.toString().slice(0, 70), Buffer.concat(err).toString(), whole.length);
        done();
      });
      stream.end(data || '');
    });
  });
}

function sftp() {
  return new Promise((done, failed) => c.sftp((error, s) => {
    if (error) return failed(error);
    const there = path.join(env.D, 'file');
    const data = crypto.randomBytes(2000000);
    s.writeFile(there, data, (e1) => s.readFile(there, (e2, back) => {
      console.log('sftp', e1 || null, e2 || null, back && back.equals(data));
      s.unlink(there, (e3) => s.readdir(env.D, (e4, names) => {
        console.log(e3 || null, e4 || null, names && names.map((n) => n.filename));
        done();
      }));
    }));
  }));
}

c.on('ready', async () => {
  try {
    await run('exit 7');
    await run('echo out; echo err >&2');
    await run('sha256sum', Buffer.alloc(3000000, 'x'));
    await run("head -c 3000000 /dev/zero | tr '\\0' y");
    await run('tty >/dev/null && echo tty', '', { pty: true });
    await run('kill -TERM $$');
    await Promise.all(Array.from({ length: 8 }, () => run('echo same')));
    await sftp();
  } catch (e) { console.log('failed', e.message); }
  c.end();
}).on('error', (e) => { console.log('error', e.message); process.exit(1); });
c.connect({ host: env.HOST, port: Number(env.PORT), username: env.LOGIN, readyTimeout: 20000, ...how });
