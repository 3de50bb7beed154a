// Does all seven operations with a client that is generated from the OpenAPI document. Its types are half of the test.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Task = components["schemas"]["Task"];

const [baseUrl] = process.argv.slice(2);
assert(baseUrl);
const headers = { Authorization: `Bearer ${readFileSync(0, "utf8").trim()}` };
const client = createClient<paths>({ baseUrl, headers });
const path = { user_id: "ann" };

const created = await client.POST("/api/{user_id}/tasks", {
  params: { path, header: { "Idempotency-Key": '"a key of this client\'s"' } },
  body: { title: "Buy oat milk", completed: false },
});
assert.equal(created.response.status, 201);
assert(created.data);
const task: Task = created.data;
assert.equal(task.version, 1);
const one = { path: { ...path, task_id: task.id } };

const listed = await client.GET("/api/{user_id}/tasks", { params: { path, query: { q: "oat", sort: "title", limit: 1 } } });
assert.deepEqual(listed.data?.items, [task]);
const next: string | null = listed.data.next_cursor;
assert.equal(next, null);

const read = await client.GET("/api/{user_id}/tasks/{task_id}", { params: one });
assert.deepEqual(read.data, task);
const tag = read.response.headers.get("ETag");
assert(tag);

const replaced = await client.PUT("/api/{user_id}/tasks/{task_id}", {
  params: { ...one, header: { "If-Match": tag } },
  body: { ...task, description: "two litres" }, // what GET gave may be sent back
});
assert.equal(replaced.data?.description, "two litres");

const edited = await client.PATCH("/api/{user_id}/tasks/{task_id}", {
  params: one,
  body: { title: "Buy bread", description: null },
  headers: { "Content-Type": "application/merge-patch+json" },
});
assert.deepEqual([edited.data?.title, edited.data?.description], ["Buy bread", null]);

const completed = await client.PATCH("/api/{user_id}/tasks/{task_id}/complete", { params: one, body: { completed: true } });
assert.equal(completed.data?.completed, true);
const toggled = await client.PATCH("/api/{user_id}/tasks/{task_id}/complete", { params: one });
assert.equal(toggled.data?.completed_at, null);

const stale = await client.DELETE("/api/{user_id}/tasks/{task_id}", { params: { ...one, header: { "If-Match": tag } } });
assert.equal(stale.error?.code satisfies components["schemas"]["ProblemDetails"]["code"] | undefined, "version_conflict");
const deleted = await client.DELETE("/api/{user_id}/tasks/{task_id}", { params: one });
assert.equal(deleted.response.status, 204);
const gone = await client.GET("/api/{user_id}/tasks/{task_id}", { params: one });
assert.equal(gone.error?.code, "task_not_found");

// What the document forbids does not compile.
const wrong = async (): Promise<void> => {
  // @ts-expect-error: a title is needed
  await client.POST("/api/{user_id}/tasks", { params: { path }, body: { description: "x" } });
  // @ts-expect-error: nothing else may be sent
  void ({ title: "x", colour: "red" } satisfies components["schemas"]["NewTask"]);
  // @ts-expect-error: an order that there is not
  await client.GET("/api/{user_id}/tasks", { params: { path, query: { sort: "colour" } } });
  // @ts-expect-error: whose tasks?
  await client.GET("/api/{user_id}/tasks", { params: {} });
};
void wrong;

console.log("seven operations done");
