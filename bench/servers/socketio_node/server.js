"use strict";
// socket.io as its documentation shows it: a room per session, joined at connect.
// POST /emit {rooms, count, every, payload} emits `count` events into each room: at once, or at that pace.

const http = require("node:http");
const { json } = require("node:stream/consumers");
const { Server } = require("socket.io");

const server = http.createServer(async (request, response) => {
  emit(await json(request));
  response.setHeader("Content-Type", "application/json");
  response.end("{}");
});
const io = new Server(server);

io.on("connection", (socket) => {
  const { sessionId } = socket.handshake.query;
  if (sessionId) socket.join(sessionId);
  socket.emit("connection-status", { status: "connected" });
});

function emit({ rooms, count, every, payload }) {
  rooms.forEach((room, index) => {
    if (every) return void setTimeout(pace, (index * every * 1000) / rooms.length, room, count, every, payload);
    for (let told = 0; told < count; told++) io.to(room).emit("upload-progress", payload);
  });
}

function pace(room, count, every, payload) {
  let told = 0;
  const timer = setInterval(() => {
    io.to(room).emit("upload-progress", payload);
    if (++told === count) clearInterval(timer);
  }, every * 1000);
}

server.listen(0, "127.0.0.1", () => {
  console.log(`ready at http://127.0.0.1:${server.address().port}/`);
});
process.on("SIGTERM", () => process.exit(0));
