// A correct echo server. It stops reading while the client does not read its replies.
// check: --service echo
// cases: framing/single back-pressure/ leaks/memory idle/
import net from "node:net";

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  let buffer = "";
  socket.setEncoding("latin1");
  socket.on("data", (data) => {
    const lines = (buffer + data).split("\n");
    buffer = lines.pop();
    const replies = lines.map((line) => line.replace(/\r$/, "") + "\n").join("");
    if (!socket.write(replies, "latin1")) socket.pause();
  });
  socket.on("drain", () => socket.resume());
  socket.on("end", () => socket.end(buffer ? buffer + "\n" : "", "latin1"));
  socket.on("error", () => socket.destroy());
});
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));
server.listen(Number(process.argv[3]), process.argv[2]);
