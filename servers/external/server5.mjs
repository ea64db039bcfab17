// server5: the event loop that Node brings, up to a number of clients; one more is told that it is
// busy.
//
//     node server5.mjs HOST PORT
//
// The loop of server3 is inside the runtime, over epoll, and calls back: data has come, the client
// has ended, what was written has left. A client that does not take its replies is not read from:
// `write` says when they wait, and `drain` when they have left. A client too many gets the line
// `error: busy, …` and a clean end.

import net from 'node:net';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';

import { calc } from './calculator.mjs';
import { BUSY, Session } from './lineserver.mjs';

const CAPACITY = 64;
const BACKLOG = 128;
const LINGER_MS = 1000;
const MOST_LINGERING = 16;
const DRAIN_DEADLINE_MS = 3000;
const LAST_READ_MS = 1000;
const LOOK_EVERY_MS = 5;

const clients = new Set();
const lingering = new Set();

function main() {
  const [host, port] = process.argv.slice(2);
  if (host === undefined || port === undefined) fail('usage: node server5.mjs HOST PORT');
  if (!/^\d+$/.test(port) || port > 65_535) fail(`${port}: a port is a number from 0 to 65535`);
  // A client that has ended its side is still owed its replies.
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, welcome);
  server.on('error', (error) => fail(`cannot listen on ${host} port ${port}: ${error.message}`));
  server.listen({ host, port: Number(port), backlog: BACKLOG }, () => {
    const { address, port: chosen } = server.address();
    console.log(`listens on ${address} port ${chosen}`);
  });
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stop(server));
}

function welcome(socket) {
  // A reset, say: it ends this client, and nobody else. `close` follows.
  socket.on('error', () => {});
  if (clients.size < CAPACITY) serve(socket);
  else turnAway(socket);
}

function serve(socket) {
  socket.setEncoding('latin1');
  const session = new Session(calc);
  const client = { socket, lastActive: 0 };
  clients.add(client);
  socket.on('data', (data) => {
    client.lastActive = performance.now();
    const replies = session.receive(data);
    // At most the replies to one piece, of 64 KiB, wait in memory.
    if (replies !== '' && !socket.write(replies)) socket.pause();
  });
  socket.on('drain', () => {
    client.lastActive = performance.now();
    socket.resume();
  });
  socket.on('end', () => {
    socket.write(session.endOfInput(), () => {
      // In this order the place is free by the time that the client sees the end.
      clients.delete(client);
      socket.end();
    });
  });
  socket.on('close', () => clients.delete(client));
}

/** To close over input that was not read resets the connection, and the reset can overtake the busy
 * line. So the sending side is shut, and what the client sends is read and thrown away. */
function turnAway(socket) {
  if (lingering.size === MOST_LINGERING) lingering.values().next().value.destroy();
  lingering.add(socket);
  const patience = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.on('close', () => {
    clearTimeout(patience);
    lingering.delete(socket);
  });
  socket.end(BUSY);
  socket.resume();
}

/** What has arrived is answered, then the exit code is 0; it is 1 if that takes too long, as with a
 * client that does not read. A second signal ends the server at once. */
async function stop(server) {
  process.removeAllListeners('SIGTERM').removeAllListeners('SIGINT');
  setTimeout(fail, DRAIN_DEADLINE_MS, 'drain took too long: the remaining clients are cut');
  server.close();
  lingering.forEach((socket) => socket.destroy());
  const began = performance.now();
  await Promise.all([...clients].map((client) => seeOff(client, began)));
  process.exit(0);
}

/** Node does not tell how much has arrived. But each turn of its loop reads what has: a client of whom
 * nothing is heard for a turn has been read to the end. One that goes on asking is cut off. */
async function seeOff(client, began) {
  const { socket } = client;
  let looked;
  do {
    looked = performance.now();
    await sleep(LOOK_EVERY_MS);
    await turn();
  } while (
    !socket.destroyed &&
    (socket.writableLength > 0 ||
      (client.lastActive >= looked && looked < began + LAST_READ_MS))
  );
  if (socket.destroyed) return;
  socket.pause();
  await new Promise((resolve) => {
    socket.on('close', resolve);
    socket.end(() => socket.destroy());
  });
}

function fail(words) {
  console.error(words);
  process.exit(1);
}

main();
