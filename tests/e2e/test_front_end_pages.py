"""The how-to pages for front ends, followed with Node.js and npm against a real server.

They are typescript-client.md, another-shape.md, fetch.md and live-updates.md.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.npm import NEEDS_NODE, NODE
from pages import ROOT, Reader, blocks_of
from serving import SECRET, Server, token_for

PINNED = json.loads((ROOT / "tests/e2e/openapi_client/package.json").read_text())["dependencies"]
ADAPTER, CALL = (block.text for block in blocks_of(ROOT / "docs/how-to/another-shape.md"))
BEFORE = """
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const [url] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${readFileSync(0, "utf8").trim()}`, "Content-Type": "application/json" };
"""
AFTER = """
assert.deepEqual(tasks, []);
const ask = (method, below = "", body) =>
  tasksFetch(`${url}/api/ann/tasks${below}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });

const made = await ask("POST", "", { title: "Milk", done: true });
assert.equal(made.status, 201);
const task = await made.json();
assert.deepEqual([task.done, "completed" in task], [true, false]);
await ask("POST", "", { title: "Bread" });
const titles = async (query) => (await (await ask("GET", query)).json()).map((each) => each.title);
assert.deepEqual(await titles("?sortBy=title"), ["Bread", "Milk"]);
assert.deepEqual(await titles("?search=mil&pageSize=5"), ["Milk"]);
assert.deepEqual(await titles("?status=completed"), ["Milk"]);
assert.deepEqual(await titles("?status=pending"), ["Bread"]);
const inNode = globalThis.fetch;
globalThis.fetch = (address, options) => inNode(new URL(address, url), options); // as a browser resolves addresses
const found = await (await tasksFetch("/api/ann/tasks?search=bre&sortBy=title", { headers })).json();
assert.deepEqual(found.map((each) => each.title), ["Bread"]);
const opened = await (await ask("PUT", `/${task.id}`, { done: false })).json();
assert.deepEqual([opened.done, opened.title], [false, "Milk"]);
const refused = await ask("PUT", `/${task.id}`, { title: "" });
assert.deepEqual([refused.status, (await refused.json()).code], [422, "invalid_input"]);
const deleted = await ask("DELETE", `/${task.id}`);
assert.deepEqual([deleted.status, await deleted.json()], [200, { success: true }]);
assert.equal((await ask("GET", `/${task.id}`)).status, 404);
for (let number = 0; number < 51; number++) await ask("POST", "", { title: `${number}` });
for (const query of ["", "?status=pending"]) assert.equal((await titles(query)).length, 52, query);
assert.equal((await titles("?pageSize=5&status=pending")).length, 5);
"""

RECIPES = """
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { api } from "./api.mjs";
import { edit } from "./edit.mjs";
import { all } from "./all.mjs";
import { undo } from "./undo.mjs";
import { complete } from "./complete.mjs";

const [url] = process.argv.slice(2);
const [expired, good] = readFileSync(0, "utf8").split("\\n");
const given = [];
const getToken = async () => (given.push(given.length ? good : expired), given.at(-1));
const ask = api(`${url}/api/ann`, getToken);
const { body: task } = await ask("POST", "/tasks", { title: "Buy oat milk", due_date: "2027-06-01" });
assert.deepEqual(given, [expired, good]);
const edited = await edit(ask, task, { title: "Buy soy milk" });
assert.deepEqual([edited.body.version, edited.headers.get("ETag")], [2, '"2"']);
await assert.rejects(edit(ask, task, { title: "Tea" }), ({ status, code, current }) => {
  assert.deepEqual([status, code, current.title], [412, "version_conflict", "Buy soy milk"]);
  return true;
});
await assert.rejects(ask("POST", "/tasks", { title: "" }), ({ code, errors }) => {
  assert.deepEqual([code, errors[0].pointer], ["invalid_input", "/title"]);
  return true;
});
const began = performance.now();
await Promise.all(Array.from({ length: LIMIT }, (_, number) => ask("POST", "/tasks", { title: `${number}` })));
assert.ok(performance.now() - began > 500, "nothing was limited");
let found = [];
for await (const each of all(ask, { sort: "created_at" })) found.push(each.title);
assert.equal(found.length, LIMIT + 1);
await ask("PATCH", `/tasks/${task.id}`, { tags: ["home", "urgent"] });
found = [];
for await (const each of all(ask, { tag: ["urgent", "home"], completed: undefined })) found.push(each.id);
assert.deepEqual(found, [task.id]);
const { body, headers } = await ask("DELETE", `/tasks/${task.id}`);
assert.equal(body, null);
const undone = await undo(ask, headers);
assert.deepEqual(undone.body.items.map(({ id, title }) => [id, title]), [[task.id, "Buy soy milk"]]);
await undo(ask, undone.headers);
const { body: same } = await ask("POST", "/tasks", { title: "Tea" });
const unchanged = await ask("PATCH", `/tasks/${same.id}`, { title: "Tea" });
assert.equal(await undo(ask, unchanged.headers), null);
await ask("DELETE", `/tasks/${same.id}`);
await assert.rejects(ask("GET", `/tasks/${task.id}`), { status: 404 });
const { body: once } = await ask("POST", "/tasks", { title: "Pay rent" });
assert.equal((await complete(ask, once)).body.completed, true);
const recurring = { title: "Run", due_date: "2097-06-01", recurrence: "FREQ=WEEKLY" };
const { body: weekly } = await ask("POST", "/tasks", recurring);
for (let click = 0; click < 2; click++) {
  const { body: next } = await complete(ask, weekly);
  assert.deepEqual([next.due_date, next.completed], ["2097-06-08", false]);
}
"""
LIMIT = 20
STUB = """
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { api } from "./api.mjs";

const waits = (globalThis.waits = []);
let answers, seen;
const server = createServer((request, answer) => {
  seen.push(request.headers);
  request.resume().on("end", () => (answers.length > 1 ? answers.shift() : answers[0])(answer, request));
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const url = `http://127.0.0.1:${server.address().port}`;
const empty = (answer) => answer.writeHead(503).end();
const page = (answer) => answer.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad Gateway</h1>");
const dropped = (answer) => answer.socket.destroy();
const cut = (answer) => answer.writeHead(201, { "Content-Length": 99 }).write("{", () => answer.socket.destroy());
const made = (answer) => answer.writeHead(201).end('{"id":"1"}');
const missing = (answer) => answer.writeHead(404).end("not found");
const login = (answer) => answer.writeHead(200).end("<h1>Log in to this network</h1>");
const create = async (...given) => {
  [answers, seen, waits.length] = [given, [], 0];
  return (await api(url, async () => "token")("POST", "/tasks", { title: "Milk" })).body;
};
const fails = async (status, ...given) => {
  await assert.rejects(create(...given), (error) => {
    assert.deepEqual([error.name, error.status, error.code, error.errors], ["Error", status, undefined, []]);
    return true;
  });
};
for (const fault of [empty, page, dropped, cut]) {
  assert.deepEqual(await create(fault, made), { id: "1" }, fault);
  assert.deepEqual(waits, [1]);
  assert.equal(new Set(seen.map((headers) => headers["idempotency-key"])).size, 1);
  assert.equal(seen.length, 2);
}
for (const [status, fault] of [[503, empty], [502, page], [0, dropped], [0, cut], [0, login]]) {
  await fails(status, fault);
  assert.deepEqual([seen.length, waits], [4, [1, 2, 3]]);
}
await fails(404, missing);
assert.equal(seen.length, 1);
await assert.rejects(api("http://127.0.0.1:1", async () => "token")("GET", "/tasks"), (error) => {
  assert.deepEqual([error.status, error.cause.name], [0, "TypeError"]);
  return true;
});

let given = 0;
const ask = api(url, async () => {
  if (given++ === 0) throw new Error("not signed in");
  return given === 2 ? "expired" : "new";
});
[answers, seen] = [[(answer, { headers }) =>
  headers.authorization === "Bearer new" ? made(answer) : answer.writeHead(401).end('{"code":"unauthenticated"}')], []];
await assert.rejects(ask("GET", "/tasks"), { message: "not signed in" });
await Promise.all(Array.from({ length: 20 }, () => ask("GET", "/tasks")));
assert.equal(given, 3);
answers = [(answer) => answer.writeHead(401).end()];
await assert.rejects(ask("GET", "/tasks"), { status: 401 });
server.close();
server.closeAllConnections();
"""
FOLLOWING = """
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { api } from "./api.mjs";
import { follow } from "./follow.mjs";

const url = `${process.argv[2]}/api/ann`, token = readFileSync(0, "utf8").trim();
const ask = api(url, async () => token);
let { body: page } = await ask("GET", "/changes");
while (page.more) ({ body: page } = await ask("GET", `/changes?since=${page.next}`));
const pages = follow(url, token, page.next);
for (const title of ["Café ☕", "x".repeat(200)]) {
  const next = pages.next();
  await ask("POST", "/tasks", { title, description: "line\\nline" });
  assert.equal((await next).value.items[0].value.title, title);
}
await pages.return();
const refused = { status: 401, code: "not_authenticated", message: /token/ };
await assert.rejects(follow(url, "bad", page.next).next(), refused);
globalThis.fetch = async () => new Response("<h1>Bad Gateway</h1>", { status: 502 });
await assert.rejects(follow(url, token, page.next).next(), { status: 502, code: undefined, message: "no stream" });
"""

pytestmark = [NEEDS_NODE, pytest.mark.timeout(400)]


@pytest.mark.ci
def test_a_typescript_client_is_generated_as_the_page_says(tmp_path: Path, data_dir: Path) -> None:
    blocks = [replace(block, runner="") for block in blocks_of(ROOT / "docs/how-to/typescript-client.md")]
    named = dict(re.findall(r" (@?[\w/-]+)@([\d.]+)", "".join(block.text for block in blocks)))
    assert len(named) == 4
    assert named.items() <= PINNED.items()
    assert blocks[-1].language == "text"
    cache = {"npm_config_prefer_offline": "true", "npm_config_audit": "false", "npm_config_fund": "false"}
    with Reader(tmp_path / "clone", TODO_DATA_DIR=str(data_dir), **cache) as reader:
        reader.read(blocks)


def test_a_front_end_with_other_data_shapes_works_through_the_adapter(
    shared: Server, token: str, tmp_path: Path
) -> None:
    (tmp_path / "adapter.mjs").write_text(ADAPTER)
    (tmp_path / "use.mjs").write_text(BEFORE + CALL + AFTER)
    done = subprocess.run(
        [str(NODE), "use.mjs", shared.url], cwd=tmp_path, input=token, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_recipes_for_fetch_renew_tokens_wait_and_page(
    serve: Callable[..., Server], database_url: str, token: str, tmp_path: Path
) -> None:
    blocks = blocks_of(ROOT / "docs/how-to/fetch.md")
    for block in blocks:
        text = block.text.replace("limit: 200", "limit: 7")  # so that there are several pages
        assert block.file != "all.mjs" or text != block.text
        (tmp_path / block.file).write_text(text)
    (use,) = (block.text for block in blocks if block.file == "use.mjs")
    assert use.partition("\n\n")[2].partition("const {")[2].strip() in RECIPES
    (tmp_path / "recipes.mjs").write_text(RECIPES.replace("LIMIT", str(LIMIT)))
    limited = {"TODO_RATE_LIMIT": f"{LIMIT}/3second"}
    server = serve(DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET, **limited).started()
    expired = token_for(now=datetime.now(UTC) - timedelta(hours=2))
    done = subprocess.run(
        [str(NODE), "recipes.mjs", server.url],
        cwd=tmp_path,
        input=f"{expired}\n{token}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "use.mjs").write_text(use.replace("http://127.0.0.1:8000", server.url) + "console.log(task.title)\n")
    used = subprocess.run(
        [str(NODE), "use.mjs"],
        cwd=tmp_path,
        env={**os.environ, "TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (used.returncode, used.stdout) == (0, "Buy oat milk\n"), used.stderr


def test_the_function_for_fetch_survives_lost_answers_proxies_and_expired_tokens(tmp_path: Path) -> None:
    (function,) = (block.text for block in blocks_of(ROOT / "docs/how-to/fetch.md") if block.file == "api.mjs")
    instant = function.replace("setTimeout(resolve, seconds * 1000)", "(waits.push(seconds), setTimeout(resolve))")
    assert instant != function
    (tmp_path / "api.mjs").write_text(instant)
    (tmp_path / "stub.mjs").write_text(STUB)
    done = subprocess.run(
        [str(NODE), "stub.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_front_end_reads_the_stream_as_the_page_says(shared: Server, token: str, tmp_path: Path) -> None:
    for page in ("fetch.md", "live-updates.md"):
        for block in blocks_of(ROOT / "docs/how-to" / page):
            if block.file:
                (tmp_path / block.file).write_text(block.text)
    (tmp_path / "stream.mjs").write_text(FOLLOWING)
    done = subprocess.run(
        [str(NODE), "stream.mjs", shared.url],
        cwd=tmp_path, input=token, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
