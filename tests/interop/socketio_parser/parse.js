// Reads cases from stdin, a JSON object a line, and tells what the Node parsers make of each, a line of JSON for each.
"use strict";

const readline = require("node:readline");
const engine = require("engine.io-parser");
const { Decoder, Encoder } = require("socket.io-parser");

const TOO_DEEP = 100; // more than ours takes; nobody compares what lies deeper

// Values as JSON that loses nothing: what JSON has not is an object of one key, and so are objects.
function tell(value, depth = 0) {
  if (value === undefined) return { undefined: true };
  if (typeof value === "number" && !Number.isFinite(value)) return { number: String(value) };
  if (value === null || typeof value !== "object") return value;
  if (Buffer.isBuffer(value)) return { bytes: value.toString("base64") };
  if (depth > TOO_DEEP) return { deep: true };
  if (Array.isArray(value)) return value.map((item) => tell(item, depth + 1));
  return { object: Object.entries(value).map(([key, item]) => [key, tell(item, depth + 1)]) };
}

function hear(told) {
  if (told === null || typeof told !== "object") return told;
  if (Array.isArray(told)) return told.map(hear);
  if ("bytes" in told) return Buffer.from(told.bytes, "base64");
  return Object.fromEntries(told.object.map(([key, item]) => [key, hear(item)]));
}

// What each frame came to, up to the first that is refused.
function decodeSocket({ frames }) {
  const decoder = new Decoder();
  const outcomes = [];
  let decoded;
  decoder.on("decoded", (packet) => (decoded = packet));
  for (const frame of frames.map(hear)) {
    decoded = undefined;
    try {
      decoder.add(frame);
    } catch (error) {
      outcomes.push({ refused: error.message });
      break;
    }
    outcomes.push(decoded === undefined ? { more: true } : { packet: tellPacket(decoded) });
  }
  return outcomes;
}

const tellPacket = ({ type, nsp, data, id }) => ({ type, nsp, data: tell(data), id: tell(id) });

const encodeSocket = ({ packet: { type, nsp, data, id } }) =>
  new Encoder().encode({ type, nsp, data: data === null ? undefined : hear(data), id: id ?? undefined }).map((frame) => tell(frame));

const tellEngine = ({ type, data }) => (type === "error" ? { refused: data } : { type, data: tell(data ?? "") });

const work = {
  "decode socket": decodeSocket,
  "encode socket": encodeSocket,
  "decode engine": ({ frame }) => [tellEngine(engine.decodePacket(hear(frame)))],
  "decode payload": ({ body }) => engine.decodePayload(body).map(tellEngine),
  "encode engine": ({ packets }) => {
    const given = packets.map(({ type, data }) => ({ type, data: hear(data) }));
    const told = { frames: [] };
    for (const packet of given) engine.encodePacket(packet, true, (frame) => told.frames.push(tell(frame)));
    engine.encodePayload(given, (body) => (told.body = body));
    return told;
  },
};

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on("line", (line) => {
  const one = JSON.parse(line);
  process.stdout.write(JSON.stringify(work[one.work](one)) + "\n");
});
