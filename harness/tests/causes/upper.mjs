// A server that replies with each line in upper case. Tested as one, it has no fault.
// check: --service echo --transform upper --shutdown abort
// cases: framing/ results/ malformed/ isolation/
// probe: service = "echo"
// probe: transform = "upper"
import net from "node:net";

const [host, port] = process.argv.slice(2);

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  let buffer = "";
  socket.setEncoding("latin1");
  // Only ASCII letters: the upper case of other letters can have two letters.
  const answer = (line) => {
    const text = line.replace(/\r$/, "").replace(/[a-z]/g, (letter) => letter.toUpperCase());
    return socket.write(text + "\n", "latin1");
  };
  socket.on("data", (data) => {
    buffer += data;
    const lines = buffer.split("\n");
    buffer = lines.pop();
    const results = lines.map(answer);
    if (results.includes(false)) {
      socket.pause();
      socket.once("drain", () => socket.resume());
    }
  });
  socket.on("end", () => {
    if (buffer) answer(buffer);
    socket.end();
  });
  socket.on("error", () => socket.destroy());
});
server.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(Number(port), host);
