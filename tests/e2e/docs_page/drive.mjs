// Goes through /docs as a person would: pastes a token, tries every operation, and tells what became of it as JSON.
//
// node drive.mjs CHROMIUM FOLDER URL OPERATION... with the token on standard input; FOLDER takes the pictures.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, folder, url, ...operations] = process.argv.slice(2);
const quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const told = { answers: {}, requests: [], violations: [], complaints: [], stored: null };

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", ...quiet] });
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
  page.setDefaultTimeout(20_000);
  page.on("request", (request) => told.requests.push(request.url()));
  page.on("console", (message) => message.type() !== "log" && told.complaints.push(message.text()));
  page.on("pageerror", (error) => told.complaints.push(String(error)));
  await page.exposeFunction("violated", (directive) => told.violations.push(directive));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => violated(`${event.violatedDirective} ${event.blockedURI}`));
  });

  await page.goto(`${url}/docs`);
  await page.getByRole("button", { name: "Authorize" }).first().click();
  await page.locator(".auth-container input").fill(readFileSync(0, "utf8").trim());
  await page.screenshot({ path: join(folder, "authorize.png") });
  await page.locator(".auth-container button[type=submit]").click();
  await page.locator(".btn-done").click();
  await page.screenshot({ path: join(folder, "start.png"), fullPage: true });

  for (const operation of operations) {
    const block = page.locator(`.opblock[id$="-${operation}"]`);
    await block.locator(".opblock-summary-control").click();
    await block.locator(".btn.execute").click();
    const status = block.locator(".live-responses-table tbody .response-col_status");
    told.answers[operation] = Number((await status.innerText()).trim().split(/\s/)[0]);
    await block.screenshot({ path: join(folder, `${operation}.png`) });
    await block.locator(".opblock-summary-control").click();
  }
  told.stored = await page.evaluate(() => [Object.keys(localStorage), Object.keys(sessionStorage), document.cookie]);
} finally {
  await browser.close();
  console.log(JSON.stringify(told));
}
