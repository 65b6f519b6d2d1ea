// Plays the other parties of the OAuth flows against idp.mjs, for end-to-end tests.
//
//   node play.mjs ISSUER login USER              whole device flow; prints the token response
//   node play.mjs ISSUER approve URL USER        the person in front of a device flow's page
//   node play.mjs ISSUER deny URL                the same person, who did not begin it
//   node play.mjs ISSUER machine CLIENT SECRET   client credentials; prints the token response
//   node play.mjs ISSUER exchange CLIENT SECRET TOKEN   token exchange; prints the token response
//
// The JSON on stdout is the result; a failure is a line on stderr and exit code 1.
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const MAX_PAGES = 8;
const MAX_POLLS = 10;

const [issuer, command, ...rest] = process.argv.slice(2);

async function discover() {
  const response = await fetch(`${issuer}/.well-known/openid-configuration`);
  return response.json();
}

async function postForm(url, fields, headers = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers,
    body: new URLSearchParams(fields),
  });
  const body = await response.json();
  if (!response.ok) {
    throw Object.assign(new Error(`${url}: ${body.error}: ${body.error_description}`), { body });
  }
  return body;
}

const basic = (id, secret) => ({
  authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`,
});

// A browser, as far as these pages need one: cookies, redirects, forms.
function browser() {
  const jar = new Map();
  return async function go(url, form) {
    for (let hops = 0; hops < MAX_PAGES; hops += 1) {
      const response = await fetch(url, {
        method: form ? 'POST' : 'GET',
        body: form ? new URLSearchParams(form) : undefined,
        headers: { cookie: [...jar].map(([k, v]) => `${k}=${v}`).join('; ') },
        redirect: 'manual',
      });
      for (const line of response.headers.getSetCookie()) {
        const [pair] = line.split(';');
        const at = pair.indexOf('=');
        const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
        if (value === '') jar.delete(name); else jar.set(name, value);
      }
      const location = response.headers.get('location');
      if (location === null) return { url, status: response.status, page: await response.text() };
      url = new URL(location, url).href;
      form = undefined;
    }
    throw new Error('too many redirects');
  };
}

function readForm(page) {
  const form = /<form[^>]*action="([^"]*)"/.exec(page);
  if (!form) return null;
  const fields = {};
  for (const [tag] of page.matchAll(/<input[^>]*>/g)) {
    const name = /name="([^"]*)"/.exec(tag)?.[1];
    if (name) fields[name] = /value="([^"]*)"/.exec(tag)?.[1] ?? '';
  }
  return { action: form[1].replaceAll('&amp;', '&'), fields };
}

// Confirms the code, logs in as `user`, consents.
async function approve(start, user) {
  const go = browser();
  let { url, status, page } = await go(start);
  for (let step = 0; step < MAX_PAGES; step += 1) {
    if (status >= 400) throw new Error(`${url} answered ${status}`);
    const form = readForm(page);
    if (!form) return;
    if ('login' in form.fields) Object.assign(form.fields, { login: user, password: 'any' });
    ({ url, status, page } = await go(new URL(form.action, url).href, form.fields));
  }
  throw new Error('the login does not come to an end');
}

// Looks at the code, and says that it is none of theirs.
async function deny(start) {
  const go = browser();
  let { url, page } = await go(start);
  for (let step = 0; step < MAX_PAGES; step += 1) {
    const form = readForm(page);
    if (!form) break;
    const last = 'confirm' in form.fields;
    if (last) {
      delete form.fields.confirm;
      form.fields.abort = 'yes';
    }
    ({ url, page } = await go(new URL(form.action, url).href, form.fields));
    if (last) return;
  }
  throw new Error('nobody was asked');
}

async function login(user) {
  const metadata = await discover();
  const scope = 'openid offline_access db:read db:write';
  const device = await postForm(metadata.device_authorization_endpoint, { client_id: 'weir-cli', scope });
  await approve(device.verification_uri_complete, user);
  for (let poll = 0; poll < MAX_POLLS; poll += 1) {
    try {
      return await postForm(metadata.token_endpoint, {
        grant_type: DEVICE, device_code: device.device_code, client_id: 'weir-cli',
      });
    } catch (e) {
      if (!['authorization_pending', 'slow_down'].includes(e.body?.error)) throw e;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  throw new Error('the login was not noticed');
}

const commands = {
  login: (user) => login(user),
  approve: (url, user) => approve(url, user).then(() => ({ approved: true })),
  deny: (url) => deny(url).then(() => ({ denied: true })),
  machine: async (id, secret) => postForm(
    (await discover()).token_endpoint,
    { grant_type: 'client_credentials', scope: 'db:read' },
    basic(id, secret),
  ),
  exchange: async (id, secret, token) => postForm(
    (await discover()).token_endpoint,
    { grant_type: EXCHANGE, subject_token: token, subject_token_type: ACCESS_TOKEN },
    basic(id, secret),
  ),
};

try {
  if (!issuer || !Object.hasOwn(commands, command ?? '')) throw new Error('see the first lines of play.mjs');
  process.stdout.write(`${JSON.stringify(await commands[command](...rest))}\n`);
} catch (e) {
  process.stderr.write(`${e.message}\n`);
  process.exitCode = 1;
}
