"use strict";
// One Socket.IO client, told line by line. Usage: node watch.js '{"url": URL, "library": NAME, …}'
//   library: a dependency of package.json; options: io()'s own
//   join: the session to join at every connect, from the last fact that was seen
//   composable: do nothing but what the upload page of old does: join, follow progress, leave when all is completed
// Commands on stdin, one a line: {"emit": NAME, "args": […], "id": N} (an ack is asked for if there is an id),
// {"do": "disconnect"}.

const { createInterface } = require("node:readline");

const wanted = JSON.parse(process.argv[2]);
const { io } = require(wanted.library ?? "socket.io-client");

function tell(event, details = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...details })}\n`);
}

const socket = io(wanted.url, { forceNew: true, ...wanted.options });
let since;

function note(payload) {
  if (payload && typeof payload === "object" && "seq" in payload) {
    since = { epoch: payload.epoch, seq: payload.seq };
  }
}

socket.io.on("open", () => {
  socket.io.engine.on("upgrade", (transport) => tell("upgrade", { transport: transport.name }));
});
socket.on("connect", () => {
  tell("connect", { sid: socket.id, transport: socket.io.engine.transport.name });
  if (wanted.composable) {
    socket.emit("join-session", wanted.composable);
  } else if (wanted.join) {
    socket.emit("join-session", { sessionId: wanted.join, ...(since && { since }) }, (answer) => {
      if (!since && answer.ok) note(answer);
      tell("joined", { answer });
    });
  }
});
socket.on("disconnect", (reason) => tell("disconnect", { reason }));
socket.on("connect_error", (error) => tell("connect_error", { message: error.message }));
socket.onAny((name, ...args) => {
  note(args[0]);
  tell("said", { name, args });
});

if (wanted.composable) {
  socket.on("upload-progress", (data) => {
    if (data.overallStatus === "completed") {
      socket.emit("leave-session", wanted.composable);
      socket.disconnect();
    }
  });
}

function order({ emit, args, id }) {
  if (id === undefined) {
    socket.emit(emit, ...args);
  } else {
    socket.emit(emit, ...args, (...answer) => tell("ack", { id, answer }));
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if (command.do === "disconnect") socket.disconnect();
    else order(command);
  })
  .on("close", () => process.exit(0));
