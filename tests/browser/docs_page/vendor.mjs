// Copies of Swagger UI what the service ships into the folder that is named: `npm ci --ignore-scripts && npm run vendor`.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const [target] = process.argv.slice(2);
const source = "node_modules/swagger-ui-dist";

for (const name of ["swagger-ui-bundle.js", "swagger-ui.css"]) {
  writeFileSync(join(target, `${name}.gz`), gzipSync(readFileSync(join(source, name)), { level: 9 }));
}
for (const name of ["LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"]) {
  copyFileSync(join(source, name), join(target, name));
}
