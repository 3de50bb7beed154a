// Opens a compiled page of the how-to as a browser at the app would: addresses are relative to it, and its cookies are kept.
// Prints a line of JSON for somebody who is not signed in, and one for somebody who is.
import { readFileSync, writeFileSync } from "node:fs";

const [page, show] = process.argv.slice(2);
const app = process.env.BETTER_AUTH_URL;
const fetched = globalThis.fetch;
let cookie = "";
globalThis.fetch = async (address, options = {}) => {
  const url = new URL(address, app);
  const headers = new Headers(options.headers);
  if (url.origin === app) headers.set("Cookie", cookie);
  return fetched(url, { ...options, headers });
};

const visit = async (name) => {
  writeFileSync(name, `${readFileSync(page, "utf8")}\nexport const shown = ${show};`);
  try {
    return (await import(`./${name}`)).shown;
  } catch (error) {
    return error.message;
  }
};

const stranger = await visit("stranger.mjs");
const person = { name: "Ann", email: "ann@example.com", password: "correct horse battery staple" };
const body = JSON.stringify(person);
const headers = { "Content-Type": "application/json", Origin: app };
const signedUp = await fetch("/api/auth/sign-up/email", { method: "POST", headers, body });
cookie = signedUp.headers.getSetCookie().map((each) => each.split(";")[0]).join("; ");
const { user } = await signedUp.json();
console.log(JSON.stringify({ stranger, user: user.id, shown: await visit("signed-in.mjs") }));
