// Reads a JSON list of queries from stdin and names each that is no PromQL, by Prometheus' own grammar.
import { parser } from '@prometheus-io/lezer-promql';

let input = '';
for await (const piece of process.stdin) input += piece;
const queries = JSON.parse(input);
const bad = queries.filter((query) => {
  let broken = false;
  parser.parse(query).iterate({ enter: (node) => { broken ||= node.type.isError; } });
  return broken;
});
if (bad.length > 0) {
  console.error(`no PromQL:\n${bad.join('\n')}`);
  process.exit(1);
}
