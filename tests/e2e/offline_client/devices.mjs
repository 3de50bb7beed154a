// Two devices of one user, with the replica of docs/how-to/offline-first.md: `node devices.mjs SCENARIO HOME [ARGUMENT]`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Network } from "./network.mjs";
import { openReplica } from "./app.js";

const [scenario, home, argument] = process.argv.slice(2);
const { origin, pathname } = new URL(home);
const token = readFileSync(0, "utf8").trim();
const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };

// What a browser has, and Node.js has not.
const stored = new Map();
globalThis.localStorage = { getItem: (key) => stored.get(key) ?? null, setItem: (key, text) => stored.set(key, text) };
const browser = new EventTarget();
globalThis.addEventListener = browser.addEventListener.bind(browser);

async function get(path) {
  const answer = await fetch(home + path, { headers });
  assert.equal(answer.status, 200, path);
  return answer.json();
}

async function everything() {
  const found = {};
  for (const list of (await get("/lists")).items) found[list.id] = { ...list, kind: "list" };
  for (let cursor = ""; cursor !== null; ) {
    const page = await get(`/tasks?limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    for (const task of page.items) found[task.id] = { ...task, kind: "task" };
    cursor = page.next_cursor;
  }
  return found;
}

async function eventually(condition, what, seconds = 30) {
  for (const deadline = Date.now() + 1000 * seconds; !(await condition()); await sleep(50))
    assert.ok(Date.now() < deadline, `not within ${seconds} s: ${what}`);
}

class Device {
  errors = [];

  static async opened(state) {
    const device = new Device();
    device.network = await new Network(origin).open();
    device.home = device.network.url + pathname;
    if (state) localStorage.setItem(device.home, JSON.stringify(state));
    device.start();
    return device;
  }

  start() {
    this.stop = new AbortController();
    this.drawn = 0;
    this.replica = openReplica(this.home, async () => token, () => { this.drawn += 1; this.whenDrawn?.(); });
    this.running = this.replica.run(this.stop.signal, (error) => this.errors.push(error));
  }

  /** The page is closed in the middle of whatever it does, and opened again. */
  async restart() {
    const saved = localStorage.getItem(this.home);
    this.network.down();
    this.stop.abort();
    await this.running;
    localStorage.setItem(this.home, saved ?? "null");
    this.start();
    this.up();
  }

  up() {
    this.network.up();
    browser.dispatchEvent(new Event("online"));
  }

  async close() {
    this.stop.abort();
    this.network.close();
    await this.running;
  }

  write(...what) {
    return this.replica.write(...what);
  }

  get state() {
    return this.replica.state;
  }

  shown(id) {
    return this.replica.things().get(id);
  }
}

function agrees({ state, replica }, server) {
  const shown = Object.fromEntries(replica.things());
  try {
    assert.equal(state.queue.length, 0);
    assert.deepEqual(state.things, server);
    assert.deepEqual(shown, server);
  } catch (error) {
    if (error instanceof assert.AssertionError) return false;
    throw error;
  }
  return true;
}

async function inStep(...devices) {
  await eventually(async () => {
    const server = await everything();
    return devices.every((device) => agrees(device, server));
  }, "all show what the server has").catch(async (error) => {
    for (const { errors, state } of devices) console.error(errors.slice(-3), JSON.stringify(state).slice(-3000));
    console.error(JSON.stringify(await everything()).slice(-3000));
    throw error;
  });
}

async function offline(first, second) {
  const list = await first.write("create", "list", { name: "Groceries" });
  const cake = await first.write("create", "task", { title: "Cake\u2028for Ann", list_id: list });
  const tea = await first.write("create", "task", { title: "Tea" });
  const old = await first.write("create", "task", { title: "Old" });
  const below = await first.write("create", "task", { title: "Below", parent_id: old });
  await inStep(first, second);

  second.network.down();
  await second.write("edit", "task", { title: "Green tea" }, tea);
  await second.write("edit", "task", { priority: "high" }, tea);
  const trip = await second.write("create", "task", { title: "Trip" });
  const bags = await second.write("create", "task", { title: "Bags", parent_id: trip });
  const socks = await second.write("create", "task", { title: "Socks", parent_id: bags });
  await second.write("edit", "task", { description: "Two pairs" }, socks);
  await second.write("delete", "task", {}, old);
  await second.write("edit", "list", { color: "#ff8800" }, list);
  assert.equal(second.shown(old), undefined);
  assert.equal(second.shown(below), undefined);
  assert.equal(second.shown(socks).description, "Two pairs");
  assert.equal(second.shown(tea).title, "Green tea");
  await first.write("edit", "task", { description: "from Assam" }, tea);
  await first.write("edit", "list", { name: "Shopping" }, list);
  await eventually(async () => (await get(`/tasks/${tea}`)).description, "the first device has written");
  assert.equal((await get(`/tasks/${tea}`)).title, "Tea");
  second.network.loseAnswers(2);
  second.up();
  await inStep(first, second);

  assert.deepEqual([second.network.lost, second.network.replayed], [2, 1]);
  const server = await everything();
  assert.deepEqual([server[tea].title, server[tea].description, server[tea].priority], ["Green tea", "from Assam", "high"]);
  assert.equal(server[tea].version, 3);
  assert.deepEqual([server[list].name, server[list].color], ["Shopping", "#ff8800"]);
  assert.deepEqual([server[bags].parent_id, server[socks].parent_id, server[socks].version], [trip, bags, 1]);
  assert.deepEqual([server[old], server[below]], [undefined, undefined]);
  assert.ok(server[cake]);
  for (const { state, network } of [first, second]) {
    assert.deepEqual([state.refused, network.refused], [[], []]);
    assert.ok(network.streams > 0);
  }
}

async function conflict(first, second) {
  const tea = await first.write("create", "task", { title: "Tea" });
  const gone = await first.write("create", "task", { title: "Gone" });
  const both = await first.write("create", "task", { title: "Both" });
  await inStep(first, second);
  second.network.down();
  await second.write("edit", "task", { title: "Green tea" }, tea);
  await second.write("edit", "task", { title: "Still here" }, gone);
  await second.write("delete", "task", {}, both);
  const child = await second.write("create", "task", { title: "Child", parent_id: gone });
  const kept = await second.write("create", "task", { title: "Kept" });
  await first.write("edit", "task", { title: "Black tea" }, tea);
  await first.write("delete", "task", {}, gone);
  await first.write("delete", "task", {}, both);
  await inStep(first);
  second.up();
  await inStep(first, second);
  const refused = second.state.refused.map(({ write, problem }) => [write.op, write.id, write.members.title, problem.code]);
  assert.deepEqual(refused, [
    ["edit", tea, "Green tea", "merge_conflict"],
    ["edit", gone, "Still here", "task_not_found"],
    ["create", child, "Child", "invalid_input"],
  ]);
  assert.deepEqual(second.state.refused[0].problem.errors.map(({ pointer }) => pointer), ["/title"]);
  assert.equal(second.shown(tea).title, "Black tea");
  assert.ok(second.shown(kept));
  await second.write("edit", "task", { title: "Green tea" }, tea); // the user has seen the other's, and insists
  await inStep(first, second);
  assert.equal(first.shown(tea).title, "Green tea");
  assert.equal(second.state.refused.length, 3);
}

/** A refused creation, and that of its subtask, are written again, in their order and with their ids. */
async function recreated(first, second) {
  const trip = await first.write("create", "task", { title: " " });
  const bags = await first.write("create", "task", { title: "Bags", parent_id: trip });
  const { refused } = first.state;
  await eventually(() => refused.length === 2, "both are refused");
  assert.deepEqual(refused.map(({ write, problem }) => [write.id, problem.errors[0].pointer]), [
    [trip, "/operations/0/task/title"],
    [bags, "/operations/0/task/parent_id"],
  ]);
  assert.equal(first.shown(bags), undefined);
  refused[0].write.members.title = "Trip"; // by the user
  while (refused.length) {
    const { op, kind, members, id } = refused[0].write;
    await first.write(op, kind, members, id);
    refused.shift();
  }
  await inStep(first, second);
  assert.deepEqual([second.shown(trip).title, second.shown(bags).parent_id], ["Trip", trip]);
}

/** Edits of what is under way: their base is what the user had seen. */
async function underway(first, second) {
  const tea = await first.write("create", "task", { title: "Tea" });
  await inStep(first, second);
  first.network.loseAnswers(1);
  await first.write("edit", "task", { title: "Green tea" }, tea);
  await eventually(() => first.network.lost === 1, "an answer is lost");
  await first.write("edit", "task", { title: "Jasmine tea" }, tea);
  await inStep(first, second);
  const now = (await everything())[tea];
  assert.deepEqual([now.title, now.version, first.state.refused], ["Jasmine tea", 3, []]);

  first.network.loseAnswers(1);
  await first.write("edit", "task", { title: "Mint tea" }, tea);
  await eventually(() => first.network.lost === 2, "an answer is lost");
  await first.restart();
  await inStep(first, second);
  assert.deepEqual([(await everything())[tea].version, first.network.replayed], [4, 2]);

  first.network.loseAnswers(1);
  await first.write("edit", "task", { title: "Iced tea" }, tea);
  await eventually(() => first.network.lost === 3, "an answer is lost");
  first.network.down();
  await eventually(() => second.shown(tea).title === "Iced tea", "the other device sees it");
  await second.write("edit", "task", { title: "Hot tea" }, tea);
  await inStep(second);
  await first.write("edit", "task", { title: "Tea with ice" }, tea); // based on "Iced tea": "Hot tea" was never seen
  first.up();
  await inStep(first, second);
  assert.equal(second.shown(tea).title, "Hot tea");
  assert.deepEqual(first.state.refused.map(({ write, problem }) => [write.members.title, problem.code]), [
    ["Tea with ice", "merge_conflict"],
  ]);

  // The newest copy has come, the answered write is still in the queue: what the user sees is that write, not the copy.
  first.network.loseAnswers(1);
  await first.write("edit", "task", { title: "Milk tea" }, tea);
  await eventually(() => first.network.lost === 4, "an answer is lost");
  first.network.down();
  await eventually(() => second.shown(tea).title === "Milk tea", "the other device sees it");
  await second.write("edit", "task", { title: "Chai" }, tea);
  await inStep(second);
  const { version } = second.shown(tea);
  const seen = new Promise((resolve) => {
    first.whenDrawn = () => {
      if (first.state.things[tea].version !== version || first.state.queue.length !== 1) return;
      first.whenDrawn = undefined;
      resolve(first.shown(tea).title);
      void first.write("edit", "task", { title: "Lemon tea" }, tea);
    };
  });
  first.up();
  assert.equal(await seen, "Milk tea");
  await inStep(first, second);
  assert.equal(second.shown(tea).title, "Chai");
  assert.deepEqual(first.state.refused.slice(1).map(({ write, problem }) => [write.members.title, problem.code]), [
    ["Lemon tea", "merge_conflict"],
  ]);
}

/** The user goes on while an edit is sent, and the other device sets other members, or the same. */
async function typing(first, second) {
  const milk = await first.write("create", "task", { title: "Milk" });
  const meanwhile = async (title, later, others) => { // `later` is written before `others` has been seen
    await inStep(first, second);
    first.network.down();
    await first.write("edit", "task", { title }, milk);
    await eventually(() => first.state.sending, "the edit is under way");
    for (const members of later) await first.write("edit", "task", members, milk);
    await second.write("edit", "task", others, milk);
    await inStep(second);
    first.up();
    await inStep(first, second);
    return second.shown(milk);
  };
  const text = await meanwhile("Buy m", [{ title: "Buy milk" }], { description: "two litres" });
  assert.deepEqual([text.title, text.description, text.version], ["Buy milk", "two litres", 4]);
  const more = await meanwhile("Buy o", [{ title: "Buy oat milk" }, { tags: ["shop"] }], { priority: "high" });
  assert.deepEqual([more.title, more.tags, more.priority], ["Buy oat milk", ["shop"], "high"]);
  assert.deepEqual(first.state.refused, []);

  const mine = { title: "Buy soy milk", description: "mine" };
  const kept = await meanwhile("Buy s", [mine], { description: "three litres" });
  assert.deepEqual([kept.title, kept.description], ["Buy s", "three litres"]);
  assert.deepEqual(first.state.refused.map(({ write, problem }) => [write.members, problem.code]), [[mine, "merge_conflict"]]);
  assert.ok(first.state.refused[0].problem.errors.some(({ pointer }) => pointer === "/description"));
}

/** A token that is too old, pages of everything, and what has been deleted meanwhile. */
async function again(first, second) {
  for (let number = 0; number < 450; number += 1) void first.write("create", "task", { title: `Task ${number}` });
  await inStep(first, second);
  const ghost = { ...Object.values(second.state.things)[0], id: "019a540b-b400-7cc3-98c4-dc0c0c07398e" };
  const { state } = second;
  await second.close();
  state.things[ghost.id] = ghost;
  state.since = argument;
  const third = await Device.opened(state);
  const mine = await third.write("create", "task", { title: "Mine" });
  assert.ok(third.shown(ghost.id));
  await inStep(first, third);
  assert.ok(third.network.refused.includes("410 changes"), third.network.refused.join());
  assert.ok(first.shown(mine));
  await third.close();
}

/** Random edits on both devices, on networks that fail. */
async function random(...devices) {
  let seed = Number(argument);
  const below = (limit) => Math.floor(((seed = (seed * 48271) % 2147483647) / 2147483647) * limit);
  const made = new Set();
  const remove = async (device, { kind, id }) => {
    const before = [...device.replica.things().keys()];
    await device.write("delete", kind, {}, id);
    for (const each of before) if (!device.shown(each)) made.delete(each); // may never have come to the server
  };
  for (let step = 0; step < 120; step += 1) {
    const device = devices[below(2)];
    const things = [...device.replica.things().values()];
    const thing = things[below(things.length)];
    const under = thing && below(2) ? { [thing.kind === "list" ? "list_id" : "parent_id"]: thing.id } : {};
    const text = thing?.kind === "list" ? "name" : "title";
    const actions = [
      async () => made.add(await device.write("create", "task", { title: `${step}`, ...under })),
      async () => made.add(await device.write("create", "list", { name: `${step}` })),
      () => thing && device.write("edit", thing.kind, { [text]: `edit ${step}` }, thing.id),
      () => thing?.kind === "task" && device.write("edit", "task", { priority: ["high", "low"][below(2)] }, thing.id),
      () => thing && !below(3) && remove(device, thing),
      () => device.network.loseAnswers(below(3)),
      () => (below(2) ? device.network.down() : device.up()),
      () => below(3) || device.restart(),
      () => sleep(below(200)),
    ];
    await actions[below(actions.length)]();
  }
  for (const device of devices) device.up();
  await inStep(...devices);
  const server = await everything();
  const refused = new Set(devices.flatMap(({ state }) => state.refused.map(({ write }) => write.id)));
  for (const id of made) {
    if (server[id] || refused.has(id)) continue;
    // The other device has deleted what was above it: the id is used.
    const answer = await fetch(`${home}/tasks`, { method: "POST", headers, body: JSON.stringify({ title: "x", id }) });
    assert.equal(answer.status, 409, `${id} was made on a device, and never on the server`);
  }
  const sum = (name) => devices.reduce((all, { network }) => all + network[name], 0);
  console.log(JSON.stringify({ things: Object.keys(server).length, refused: refused.size, lost: sum("lost"), replayed: sum("replayed") }));
}

const devices = [await Device.opened(), await Device.opened()];
await { offline, conflict, recreated, underway, typing, again, random }[scenario](...devices);
for (const device of devices) await device.close();
