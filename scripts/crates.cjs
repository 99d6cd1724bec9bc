// The crates that the program for a target is built from, by cargo's own metadata; those of tests are left out.
"use strict";
const { execFileSync } = require("node:child_process");
const { join } = require("node:path");

const root = join(__dirname, "..");

/** `{ program, crates, edges }`: packages of cargo's metadata, and for each id the ids that it depends on. */
exports.crates = (target) => {
  const metadata = JSON.parse(
    execFileSync("cargo", ["metadata", "--locked", "--format-version", "1", "--filter-platform", target], {
      cwd: root,
      maxBuffer: 1 << 28,
      stdio: ["ignore", "pipe", "inherit"],
    }),
  );
  const packages = new Map(metadata.packages.map((it) => [it.id, it]));
  const nodes = new Map(metadata.resolve.nodes.map((it) => [it.id, it]));
  const edges = new Map();
  const waiting = [metadata.resolve.root];
  while (waiting.length > 0) {
    const id = waiting.pop();
    if (edges.has(id)) continue;
    const of = nodes.get(id).deps.filter((it) => it.dep_kinds.some((kind) => kind.kind !== "dev"));
    edges.set(id, of.map((it) => it.pkg));
    waiting.push(...edges.get(id));
  }
  const program = packages.get(metadata.resolve.root);
  const crates = [...edges.keys()].filter((id) => id !== program.id).map((id) => packages.get(id));
  return { program, crates, packages, edges };
};
