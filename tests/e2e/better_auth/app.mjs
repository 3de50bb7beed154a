// The how-to's app: its auth.ts, compiled, serves Better Auth, and an empty page for the rest. Ends with standard input.
import { createServer } from "node:http";

import { toNodeHandler } from "better-auth/node";

import { auth } from "./auth.js";

const handle = toNodeHandler(auth);
const server = createServer((request, response) => {
  if (request.url.startsWith("/api/auth/")) handle(request, response);
  else response.setHeader("Content-Type", "text/html").end("<title>An app</title>");
});
server.listen(new URL(process.env.BETTER_AUTH_URL).port, "127.0.0.1", () => console.log("listening"));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
