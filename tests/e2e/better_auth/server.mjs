// Better Auth as people run it, in several settings in parallel, each on a port of its own; everything is kept in memory.
// Prints one line of JSON, {"name of the setting": "its base URL"}, when all of them listen.
import { createServer } from "node:http";

import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { jwt } from "better-auth/plugins/jwt";
import { toNodeHandler } from "better-auth/node";
import { SignJWT } from "jose";

const secret = process.env.BETTER_AUTH_SECRET;
const cached = (strategy) => ({ session: { cookieCache: { enabled: true, maxAge: 300, strategy } } });
const signWithSecret = (payload) =>
  new SignJWT(payload).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(secret));

const settings = {
  default: { plugin: {} },
  EdDSA: { plugin: { jwks: { keyPairConfig: { alg: "EdDSA", crv: "Ed25519" } } } },
  ES256: { plugin: { jwks: { keyPairConfig: { alg: "ES256" } } } },
  ES512: { plugin: { jwks: { keyPairConfig: { alg: "ES512" } } } },
  RS256: { plugin: { jwks: { keyPairConfig: { alg: "RS256" } } } },
  PS256: { plugin: { jwks: { keyPairConfig: { alg: "PS256" } } } },
  rotating: { plugin: { jwks: { rotationInterval: 1 } } },
  HS256: {
    plugin: {
      jwks: { remoteUrl: "https://unused.example/jwks", keyPairConfig: { alg: "EdDSA" } },
      jwt: { sign: signWithSecret },
    },
  },
  "cache signed with the secret": { plugin: {}, options: cached("jwt") },
  "cache signed with the keys": { plugin: { sessionCookieCache: true }, options: cached("jwt") },
  "cache encrypted": { plugin: {}, options: cached("jwe") },
  "cache compact": { plugin: {}, options: cached("compact") },
};

const auth = (baseURL, { plugin, options, database, mails }) =>
  betterAuth({
    ...options,
    baseURL,
    secret,
    database,
    emailAndPassword: { enabled: true },
    emailVerification: { sendOnSignUp: true, sendVerificationEmail: async ({ token }) => void mails.push(token) },
    plugins: [jwt(plugin)],
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    logger: { level: "error" },
  });

// One issuer whose operator changes the algorithm again and again: the next request's header says to which.
const changing = (shared) => {
  const handlers = {};
  for (const alg of ["EdDSA", "ES256", "ES512", "RS256", "PS256"]) {
    const plugin = { jwks: { rotationInterval: 1, keyPairConfig: { alg } } };
    handlers[alg] = toNodeHandler(auth(shared.baseURL, { ...shared, plugin }));
  }
  return (request, response) => handlers[request.headers["x-algorithm"] ?? "EdDSA"](request, response);
};

const started = [...Object.entries(settings), ["changing", null]].map(async ([name, setting]) => {
  const database = memoryAdapter({ user: [], session: [], account: [], verification: [], jwks: [] });
  const mails = [];
  let handle;
  const server = createServer((request, response) => {
    if (request.url === "/mails") response.end(JSON.stringify(mails));
    else handle(request, response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseURL = `http://127.0.0.1:${server.address().port}`;
  const shared = { baseURL, database, mails };
  handle = setting ? toNodeHandler(auth(baseURL, { ...setting, ...shared })) : changing(shared);
  return [name, baseURL];
});

console.log(JSON.stringify(Object.fromEntries(await Promise.all(started))));

// Ends with the tests that started it, however they end.
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
