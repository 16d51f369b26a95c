// Builds the page into learn2talk/viewer/page and writes its manifest: which files it has, of which
// sources they were made (a test compares), and which packages lie in the bundle.
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "learn2talk", "viewer", "page");
const entries = {
  viewer: join(here, "src", "main.js"),
  live: join(here, "src", "live", "main.js"),
  microphone: join(here, "src", "live", "microphone_worklet.js"),
};
const copied = ["index.html", "viewer.css", "live.html", "live.css"];
const sha256 = (data) => createHash("sha256").update(data).digest("hex");

async function sourcePaths(folder) {
  const found = [];
  for (const item of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, item.name);
    if (item.isDirectory() && item.name !== "node_modules") found.push(...(await sourcePaths(path)));
    if (item.isFile()) found.push(path);
  }
  return found.sort();
}

const three = JSON.parse(await readFile(join(here, "node_modules", "three", "package.json"), "utf8"));
const licence = await readFile(join(here, "node_modules", "three", "LICENSE"), "utf8");
const banner = `/*! learn2talk viewer, Apache-2.0. Contains three.js ${three.version}:\n${licence.trim()}\n*/`;

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  entryPoints: entries,
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  minify: true,
  target: "es2022",
  chunkNames: "part-[hash]",
  legalComments: "none", // the banner has the one licence in full
  banner: { js: banner },
});
for (const name of copied) await writeFile(join(out, name), await readFile(join(here, name)));

const files = (await readdir(out)).sort();
const sources = await sourcePaths(here);
const hashes = async (paths, base) =>
  Object.fromEntries(
    await Promise.all(paths.map(async (p) => [relative(base, p), sha256(await readFile(p))])),
  );
const manifest = {
  files,
  packages: { three: three.version },
  built: await hashes(files.map((name) => join(out, name)), out),
  sources: await hashes(sources, here),
};
await writeFile(join(out, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
for (const name of files) {
  console.log(`${name}: ${(await readFile(join(out, name))).length} bytes`);
}
