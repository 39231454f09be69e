"use strict";
// @tus/server as its documentation shows it. Usage: node server.js DIRECTORY [--max-file-bytes N] [--retention-s S]

const http = require("node:http");
const path = require("node:path");
const { parseArgs } = require("node:util");
const { FileConfigstore, FileStore } = require("@tus/file-store");
const { Server } = require("@tus/server");

function wanted() {
  const options = { "max-file-bytes": { type: "string" }, "retention-s": { type: "string" } };
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    console.error(error.message);
    process.exit(2);
  }
}

const { values, positionals } = wanted();
const directory = path.join(path.resolve(positionals[0]), "files");
const expirationPeriodInMilliseconds = Number(values["retention-s"] ?? 86400) * 1000;
const datastore = new FileStore({
  directory,
  configstore: new FileConfigstore(directory),
  expirationPeriodInMilliseconds,
});
const maxSize = values["max-file-bytes"] === undefined ? undefined : Number(values["max-file-bytes"]);
const tus = new Server({ path: "/files", datastore, maxSize });

if (values["retention-s"] !== undefined) {
  setInterval(() => tus.cleanUpExpiredUploads(), expirationPeriodInMilliseconds);
}

const server = http.createServer(tus.handle.bind(tus));
server.listen(0, "127.0.0.1", () => {
  console.log(`ready at http://127.0.0.1:${server.address().port}/files/`);
});
process.on("SIGTERM", () => process.exit(0));
