// Unpacks Chromium with its libraries and fonts into `unpacked`, and removes what it was packed in.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";

mkdirSync("unpacked");
process.env.TMPDIR = "unpacked"; // where the package unpacks
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs24.x"; // it brings the libraries for machines that have none
const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();
writeFileSync("unpacked/fonts/fonts.conf", '<fontconfig><dir prefix="relative">fonts</dir></fontconfig>'); // its own names /tmp
rmSync("node_modules", { recursive: true });
