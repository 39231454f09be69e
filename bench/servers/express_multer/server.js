"use strict";
// express as its documentation shows it: multer's disk storage for forms, a stream into a file for raw bodies,
// its static files for downloads.
// Nothing is synced, which is what such servers do. Usage: node server.js DIRECTORY

const { randomUUID } = require("node:crypto");
const { createWriteStream } = require("node:fs");
const path = require("node:path");
const { pipeline } = require("node:stream/promises");
const express = require("express");
const multer = require("multer");

const directory = path.resolve(process.argv[2]);
const forms = multer({ storage: multer.diskStorage({ destination: directory }) });
const app = express();

app.post("/upload", forms.any(), (request, response) => {
  response.json({ files: request.files.map((file) => ({ name: file.originalname, size: file.size })) });
});

app.put("/upload/:name", async (request, response) => {
  const name = randomUUID();
  const file = createWriteStream(path.join(directory, name));
  await pipeline(request, file);
  response.json({ size: file.bytesWritten, path: `/stored/${name}` });
});

app.use("/stored", express.static(directory));

const server = app.listen(0, "127.0.0.1", () => {
  console.log(`ready at http://127.0.0.1:${server.address().port}/`);
});
process.on("SIGTERM", () => process.exit(0));
