// An OpenID provider for end-to-end tests: npm oidc-provider on a free loopback port.
//
// Prints one line of JSON on stdout when it is ready: issuer, port, audience, and the clients with
// their secrets. Everything else goes to stderr. Ends with SIGTERM, or with its stdin when started
// with --until-stdin-closes.
//
// What is real: discovery, JWKS, ES256 access tokens (at+jwt, RFC 9068), client credentials, the
// device flow with its pages, refresh tokens, token exchange (RFC 8693) with an act chain.
// What is only here for tests: POST /test/token, /test/rotate and /test/device, see below.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';

console.log = console.info = console.warn = console.error;
const { Provider, errors } = await import('oidc-provider');
const { createLocalJWKSet, jwtVerify } = await import('jose');

const AUDIENCE = process.env.WEIR_IDP_AUDIENCE ?? 'weir';
const TTL = Number(process.env.WEIR_IDP_TTL ?? 300);
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const MAX_BODY = 64 * 1024;

// People and what they are in. Anybody else may log in, too, and is in no group.
const people = {
  alice: ['staff', 'approvers'],
  bob: ['eng'],
  carol: ['security'],
  dave: ['support'],
  erin: ['weir-permit-all'],
};
const clients = {
  'weir-cli': { flow: 'device', secret: null },
  'ci-job': { flow: 'client_credentials', secret: 'ci-job-secret-for-tests-only-0001' },
  copilot: { flow: 'token_exchange', secret: 'copilot-secret-for-tests-only-0001' },
  planner: { flow: 'token_exchange', secret: 'planner-secret-for-tests-only-0001' },
};

function registration(id, { flow, secret }) {
  const common = {
    client_id: id, redirect_uris: [], response_types: [], id_token_signed_response_alg: 'ES256',
  };
  switch (flow) {
    case 'device':
      return {
        ...common,
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      };
    case 'client_credentials':
      return { ...common, client_secret: secret, grant_types: ['client_credentials'] };
    case 'token_exchange':
      return { ...common, client_secret: secret, grant_types: [EXCHANGE] };
    default:
      throw new Error(`no such flow: ${flow}`);
  }
}

function newKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    ...privateKey.export({ format: 'jwk' }),
    alg: 'ES256',
    use: 'sig',
    kid: `es256-${randomUUID().slice(0, 8)}`,
  };
}

// How the device flow goes, and how often it was asked for what.
const device = { ttl: 600, audience: AUDIENCE, interval: 1 };
const asked = { codes: 0, polls: 0 };

function resourceServer() {
  return {
    scope: 'db:read db:write',
    audience: device.audience,
    accessTokenTTL: TTL,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'ES256' } },
  };
}

// `extra` travels inside the stored token to the claims: what the test endpoint and the exchange
// want to say about a token goes through it.
async function extraTokenClaims(_ctx, token) {
  if (token.kind === 'ClientCredentials') {
    return { groups: ['robots'], kind: 'workload' };
  }
  const { act, groups, kind, claims } = token.extra ?? {};
  return {
    groups: groups ?? people[token.accountId] ?? [],
    kind: kind ?? 'user',
    ...(act ? { act } : {}),
    ...(claims ?? {}),
  };
}

function newProvider(issuer, keys) {
  const provider = new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: [randomUUID()] },
    clients: Object.entries(clients).map(([id, c]) => registration(id, c)),
    scopes: ['openid', 'offline_access', 'db:read', 'db:write'],
    claims: { openid: ['sub'], groups: ['groups'] },
    findAccount: async (_ctx, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, groups: people[id] ?? [] }),
    }),
    extraTokenClaims,
    ttl: { DeviceCode: () => device.ttl },
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://weir.test',
        useGrantedResource: () => true,
        getResourceServerInfo: resourceServer,
      },
    },
  });

  // The client that calls is the actor; the subject token says for whom, and who acted before.
  provider.registerGrantType(
    EXCHANGE,
    async (ctx) => {
      const { params, client } = ctx.oidc;
      if (params.subject_token_type !== ACCESS_TOKEN) {
        throw new errors.InvalidRequest('subject_token_type must be an access token');
      }
      const publicKeys = { keys: keys.map(({ d, ...key }) => key) };
      let subject;
      try {
        const options = { issuer, audience: AUDIENCE, typ: 'at+jwt', algorithms: ['ES256'] };
        subject = await jwtVerify(params.subject_token, createLocalJWKSet(publicKeys), options);
      } catch {
        throw new errors.InvalidGrant('subject_token is not valid');
      }
      const before = subject.payload.act;
      const token = await mint(provider, client, subject.payload.sub, {
        groups: subject.payload.groups,
        kind: subject.payload.kind,
        act: { sub: client.clientId, ...(before ? { act: before } : {}) },
      });
      ctx.body = {
        access_token: token,
        issued_token_type: ACCESS_TOKEN,
        token_type: 'Bearer',
        expires_in: TTL,
      };
    },
    [
      'subject_token', 'subject_token_type', 'actor_token', 'actor_token_type',
      'audience', 'resource', 'scope', 'requested_token_type',
    ],
  );
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.body?.device_code) {
      asked.codes += 1;
      ctx.body.interval = device.interval;
    } else if (ctx.oidc?.params?.grant_type?.endsWith(':device_code')) {
      asked.polls += 1;
    }
  });
  provider.on('server_error', (_ctx, e) => console.error('server_error', e));
  provider.on('grant.error', (_ctx, e) => console.error('grant.error', e.message, e.error_description));
  return provider;
}

async function mint(provider, client, accountId, extra, expiresIn = TTL) {
  const token = new provider.AccessToken({
    client, accountId, scope: 'db:read db:write', gty: 'test', extra, expiresIn,
  });
  token.resourceServer = new provider.ResourceServer('https://weir.test', resourceServer());
  return token.save();
}

async function readJson(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > MAX_BODY) throw new Error('body too large');
  }
  return text === '' ? {} : JSON.parse(text);
}

const server = createServer();
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(Number(process.env.WEIR_IDP_PORT ?? 0), '127.0.0.1', resolve);
});
const { port } = server.address();
const issuer = `http://127.0.0.1:${port}`;

let keys = [newKey()];
let provider = newProvider(issuer, keys);
let pages = provider.callback();

// POST /test/token {"sub", "groups"?, "kind"?, "act"?, "ttl"?, "claims"?} -> {"access_token"}
//   The provider's own signed access token for anybody, without a login.
// POST /test/rotate {"keep": true|false} -> {"kid"}
//   A new signing key; the old one stays published with keep.
// POST /test/device {"ttl"?, "audience"?, "interval"?} -> {"codes", "polls"}
//   How the device flow goes from now on; how many codes were given out, and how often a token was asked for.
async function forTests(request, response) {
  const body = await readJson(request);
  const answer = (value) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(value));
  };
  switch (request.url) {
    case '/test/token': {
      if (typeof body.sub !== 'string' || body.sub === '') throw new Error('sub is needed');
      const client = await provider.Client.find('weir-cli');
      const { sub, ttl, ...extra } = body;
      return answer({ access_token: await mint(provider, client, sub, extra, ttl) });
    }
    case '/test/rotate':
      keys = [newKey(), ...(body.keep ? keys : [])];
      provider = newProvider(issuer, keys);
      pages = provider.callback();
      return answer({ kid: keys[0].kid });
    case '/test/device':
      Object.assign(device, body);
      return answer(asked);
    default:
      response.statusCode = 404;
      return answer({ error: 'not_found' });
  }
}

server.on('request', (request, response) => {
  if (request.method === 'POST' && request.url.startsWith('/test/')) {
    forTests(request, response).catch((e) => {
      response.statusCode = 400;
      response.end(JSON.stringify({ error: e.message }));
    });
  } else {
    pages(request, response);
  }
});

const stop = () => process.exit(0);
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
if (process.argv.includes('--until-stdin-closes')) {
  process.stdin.on('end', stop).on('close', stop).resume();
}
process.stdout.write(`${JSON.stringify({ issuer, port, audience: AUDIENCE, ttl: TTL, clients, people })}\n`);
