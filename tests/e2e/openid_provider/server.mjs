// An OpenID provider as people run one: users sign in, clients ask for a token for an API, keys are found by discovery.
// Prints a line when it listens; everything is kept in memory. Ends with standard input.
import { createServer } from "node:http";

import Provider from "oidc-provider";

const [issuer, redirect] = process.argv.slice(2);
const page = (client_id, subject_type) => ({
  client_id,
  subject_type,
  token_endpoint_auth_method: "none",
  redirect_uris: [redirect],
});
const provider = new Provider(issuer, {
  clients: [
    page("page", "public"),
    page("private", "pairwise"),
    {
      client_id: "robot",
      client_secret: "of the tests",
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
    },
  ],
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  subjectTypes: ["public", "pairwise"],
  pairwiseIdentifier: (_, id, client) => `${id}@${client.clientId}`,
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        audience: resource,
        scope: "tasks tasks:read tasks:write tasks:delete",
        accessTokenFormat: resource.endsWith("/opaque") ? "opaque" : "jwt",
      }),
    },
  },
  clientBasedCORS: () => true,
});
createServer(provider.callback()).listen(new URL(issuer).port, "127.0.0.1", () => console.log("listening"));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
