"use strict";
// One upload by tus-js-client, told line by line. Usage: node upload.js '{"endpoint": URL, "path": FILE, …}'
//   input: "file" (a stream of the file, which the client may read again), "buffer", "stream" (read once)
//   options: the client's own; urls: where it remembers the URLs of its uploads, to go on with the newest
// Commands on stdin, one a line: abort, start, terminate. Exit code: 0 uploaded, 1 it gave up, 3 terminated.

const { createReadStream, readFileSync } = require("node:fs");
const { PassThrough } = require("node:stream");
const { createInterface } = require("node:readline");
const { FileUrlStorage, Upload } = require("tus-js-client");

const wanted = JSON.parse(process.argv[2]);

function tell(event, details = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...details })}\n`);
}

function source() {
  if (wanted.input === "buffer") return readFileSync(wanted.path);
  const file = createReadStream(wanted.path);
  return wanted.input === "stream" ? file.pipe(new PassThrough()) : file;
}

function request(req) {
  return {
    method: req.getMethod(),
    url: req.getURL(),
    override: req.getHeader("X-HTTP-Method-Override"),
    requestId: req.getHeader("X-Request-ID"),
  };
}

const upload = new Upload(source(), {
  ...wanted.options,
  endpoint: wanted.endpoint,
  ...(wanted.urls && { urlStorage: new FileUrlStorage(wanted.urls) }),
  onBeforeRequest: (req) => tell("request", request(req)),
  onAfterResponse: (req, res) => {
    const offset = res.getHeader("Upload-Offset");
    tell("answer", { ...request(req), status: res.getStatus(), offset: offset && Number(offset) });
  },
  onUploadUrlAvailable: () => tell("url", { url: upload.url }),
  onChunkComplete: (size, accepted, total) => tell("chunk", { size, accepted, total }),
  onSuccess: () => {
    tell("success", { url: upload.url });
    process.exit(0);
  },
  onError: (error) => {
    tell("error", { message: error.message, status: error.originalResponse?.getStatus() });
    process.exit(1);
  },
});

const commands = {
  abort: () => upload.abort().then(() => tell("aborted")),
  start: () => upload.start(),
  terminate: () =>
    upload.abort(true).then(() => {
      tell("terminated");
      process.exit(3);
    }),
};
createInterface({ input: process.stdin }).on("line", (line) => commands[line]());

async function begin() {
  const before = wanted.urls ? await upload.findPreviousUploads() : [];
  if (before.length) upload.resumeFromPreviousUpload(before[before.length - 1]);
  upload.start();
}

begin();
