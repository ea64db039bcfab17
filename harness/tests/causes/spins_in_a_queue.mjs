// An echo server. A loop of setImmediate looks for finished requests, even if there are none.
// check: --service echo --shutdown abort
// cases: framing/single idle/no-client idle/after-fin
// fault: The server spins without clients: it keeps a CPU busy and does no work
import net from "node:net";

let finished = [];

function poll() {
  const batch = finished;
  finished = [];
  for (const [socket, reply] of batch) {
    if (!reply) socket.end();
    else if (!socket.write(reply)) socket.pause();
  }
  setImmediate(poll);
}

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  let buffer = "";
  socket.setEncoding("latin1");
  socket.on("data", (data) => {
    const lines = (buffer + data).split("\n");
    buffer = lines.pop();
    const replies = lines.map((line) => line.replace(/\r$/, "") + "\n").join("");
    if (replies) finished.push([socket, Buffer.from(replies, "latin1")]);
  });
  socket.on("end", () => {
    if (buffer) finished.push([socket, Buffer.from(buffer + "\n", "latin1")]);
    finished.push([socket, null]);
  });
  socket.on("drain", () => socket.resume());
  socket.on("error", () => socket.destroy());
});
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));
server.listen(Number(process.argv[3]), process.argv[2]);
poll();
