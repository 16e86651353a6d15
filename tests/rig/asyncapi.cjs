// node asyncapi.cjs <folder with node_modules> <document>: what AsyncAPI's own parser finds, one JSON object per line.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const [, , folder, document] = process.argv;
const { Parser } = createRequire(`${folder}/`)("@asyncapi/parser");

new Parser().validate(readFileSync(document, "utf8"), { source: document }).then((found) => {
  for (const { severity, code, message, path } of found) console.log(JSON.stringify({ severity, code, message, path }));
});
