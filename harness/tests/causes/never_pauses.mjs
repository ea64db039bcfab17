// An echo server that ignores whether its replies can be sent, so they wait without limit.
// check: --service echo
// cases: framing/single back-pressure/never-reads
// fault: A client that sends and never reads makes memory grow without bound
import net from "node:net";

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  let buffer = "";
  socket.setEncoding("latin1");
  socket.on("data", (data) => {
    const lines = (buffer + data).split("\n");
    buffer = lines.pop();
    const replies = lines.map((line) => line.replace(/\r$/, "") + "\n").join("");
    socket.write(replies, "latin1");
  });
  socket.on("end", () => socket.end(buffer ? buffer + "\n" : "", "latin1"));
  socket.on("error", () => socket.destroy());
});
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));
server.listen(Number(process.argv[3]), process.argv[2]);
