// The default server of Node: one event loop.
const [host, port] = process.argv.slice(2);
require("net").createServer((client) => client.pipe(client)).listen(Number(port), host);
