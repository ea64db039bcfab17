// Two worker processes of Node. The primary process accepts for both.
const cluster = require("cluster");
const [host, port] = process.argv.slice(2);
if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
} else {
  require("net").createServer((client) => client.pipe(client)).listen(Number(port), host);
}
