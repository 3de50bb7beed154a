// The hand-written peer: what somebody who minds the cost writes in Fastify, with SQL of their own.
//
// It does what this server does with a request: the same members of a task, security headers, CORS, a limit for each
// user, an access log in JSON, verified tokens; and each write takes the next number of its user's changes and logs
// what it did, in one transaction. It shares no statements, and keeps no idempotency keys.
import { randomUUID } from "node:crypto";
import cors from "@fastify/cors";
import helmet from "@fastify/helmet";
import rateLimit from "@fastify/rate-limit";
import { createVerifier } from "fast-jwt";
import Fastify from "fastify";
import postgres from "postgres";

const { BETTER_AUTH_SECRET, DATABASE_URL, PORT, TODO_RATE_LIMIT } = process.env;
const target = new URL(DATABASE_URL.replace("@/", "@localhost/")); // a socket's folder stands in the query
const sql = postgres({
  host: target.searchParams.get("host") ?? target.hostname,
  port: Number(target.searchParams.get("port") ?? target.port),
  database: target.pathname.slice(1),
  username: decodeURIComponent(target.username),
  password: decodeURIComponent(target.password),
  max: 10,
  onnotice: () => {},
});
await sql`
  create table owners (user_id text primary key, number bigint not null, live int not null)`;
await sql`
  create table tasks (
    user_id text, id uuid, title text not null, description text, completed boolean not null default false,
    priority text, tags text[] not null, start_date text, due_date text, time_zone text,
    version bigint not null default 1, created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(), primary key (user_id, id)
  )`;
await sql`
  create index tasks_newest on tasks (user_id, created_at desc, id desc)`;
await sql`
  create table changes (
    user_id text, number bigint, id uuid, at timestamptz not null, action text not null, before jsonb, after jsonb,
    primary key (user_id, number, id)
  )`;

const app = Fastify({ logger: { level: "info" }, disableRequestLogging: true, genReqId: () => randomUUID() });
await app.register(helmet);
await app.register(cors, { origin: ["http://localhost:3000"] });
const verify = createVerifier({ key: BETTER_AUTH_SECRET, algorithms: ["HS256"], cache: 10_000 });

app.decorateRequest("user", null);
app.addHook("onRequest", async (request, reply) => {
  if (!request.url.startsWith("/api/")) return;
  try {
    request.user = verify((request.headers.authorization ?? "").replace(/^Bearer /, "")).sub;
  } catch {
    return reply.code(401).send();
  }
  if (request.params.user !== request.user) return reply.code(403).send();
});
await app.register(rateLimit, {
  max: Number(TODO_RATE_LIMIT.split("/")[0]),
  timeWindow: "1 hour",
  keyGenerator: (request) => request.user ?? request.ip,
});
app.addHook("onSend", async (request, reply) => {
  reply.header("X-Request-Id", request.id).header("Cache-Control", "private, no-cache");
});
app.addHook("onResponse", async (request, reply) => {
  request.log.info({
    method: request.method,
    route: request.routeOptions.url,
    status: reply.statusCode,
    ms: reply.elapsedTime,
    user: request.user,
    request_id: request.id,
  });
});

const text = (max) => ({ type: ["string", "null"], maxLength: max });
const given = {
  type: "object",
  required: ["title"],
  additionalProperties: false,
  properties: {
    title: { type: "string", minLength: 1, maxLength: 200 },
    description: text(1000),
    priority: { enum: ["high", "medium", "low", null] },
    tags: { type: "array", maxItems: 20, items: { type: "string", maxLength: 50 } },
    start_date: text(19),
    due_date: text(19),
    time_zone: text(64),
  },
};
const task = {
  type: "object",
  properties: {
    ...given.properties,
    id: { type: "string" },
    user_id: { type: "string" },
    completed: { type: "boolean" },
    version: { type: "integer" },
    created_at: { type: "string" },
    updated_at: { type: "string" },
  },
};
const answers = (status, schema) => ({ response: { [status]: schema } });

app.get("/health/live", async () => "");

app.post("/api/:user/tasks", { schema: { body: given, ...answers(201, task) } }, async (request, reply) => {
  const { title, description = null, priority = null, tags = [] } = request.body;
  const { start_date = null, due_date = null, time_zone = null } = request.body;
  const [made] = await sql`
    with raised as (
      insert into owners values (${request.user}, 1, 1)
      on conflict (user_id) do update set number = owners.number + 1, live = owners.live + 1 where owners.live < 1000000
      returning user_id, number
    ), made as (
      insert into tasks (user_id, id, title, description, priority, tags, start_date, due_date, time_zone)
      select user_id, ${randomUUID()}, ${title}, ${description}, ${priority}, ${tags}, ${start_date}, ${due_date},
        ${time_zone} from raised returning *
    ), logged as (
      insert into changes (user_id, number, id, at, action, after)
      select user_id, number, id, now(), 'created', to_jsonb(made) from made join raised using (user_id)
    ) select * from made`;
  reply.code(201);
  return made;
});

const page = { type: "object", properties: { items: { type: "array", items: task } } };

app.get("/api/:user/tasks", { schema: answers(200, page) }, async (request) => {
  const limit = Math.min(Number(request.query.limit ?? 50), 200);
  const items = await sql`
    select * from tasks where user_id = ${request.user} order by created_at desc, id desc limit ${limit}`;
  return { items };
});

app.get("/api/:user/tasks/:id", { schema: answers(200, task) }, async (request, reply) => {
  const [found] = await sql`select * from tasks where user_id = ${request.user} and id = ${request.params.id}`;
  return found ?? reply.code(404).send();
});

app.patch("/api/:user/tasks/:id/complete", { schema: answers(200, task) }, async (request, reply) => {
  const [toggled] = await sql`
    with held as materialized (
      select number from owners where user_id = ${request.user} for no key update
    ), toggled as (
      update tasks set completed = not completed, version = version + 1, updated_at = now() from held
      where user_id = ${request.user} and id = ${request.params.id} returning tasks.*, held.number + 1 as number
    ), raised as (
      update owners set number = toggled.number from toggled where owners.user_id = toggled.user_id
    ), logged as (
      insert into changes
      select user_id, number, id, now(), case when completed then 'completed' else 'reopened' end,
        jsonb_build_object('completed', not completed, 'version', version - 1),
        jsonb_build_object('completed', completed, 'version', version) from toggled
    ) select * from toggled`;
  return toggled ?? reply.code(404).send();
});

await app.listen({ host: "127.0.0.1", port: Number(PORT) });
process.on("SIGTERM", async () => {
  await app.close();
  await sql.end();
});
