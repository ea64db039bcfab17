// server5: the event loop of Node, up to a connection limit. Further connections get a busy line.
//
//     node server5.mjs HOST PORT
//
// The runtime contains the loop of server3, over epoll, and calls back when input has arrived, the
// client has ended its input, or output was sent. The server does not read from a client that does
// not read its replies: `write` returns false when replies are buffered, and the event `drain`
// follows when they were sent. A connection over the limit gets the line `error: busy, …` and a
// clean close.

import net from 'node:net';
import { setImmediate as nextIteration, setTimeout as sleep } from 'node:timers/promises';

import { calc } from './calculator.mjs';
import { BUSY, Session } from './lineserver.mjs';

const CAPACITY = 64;
const BACKLOG = 128;
const LINGER_MS = 1000;
const MAX_LINGERING = 16;
const DRAIN_DEADLINE_MS = 3000;
const DRAIN_READ_DEADLINE_MS = 1000;
const DRAIN_POLL_INTERVAL_MS = 5;

const clients = new Set();
const lingering = new Set();

function main() {
  const [host, port] = process.argv.slice(2);
  if (host === undefined || port === undefined) fail('usage: node server5.mjs HOST PORT');
  if (!/^\d+$/.test(port) || port > 65_535) fail(`${port}: a port is a number from 0 to 65535`);
  // With allowHalfOpen, a client that has ended its input still gets its replies.
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, accept);
  server.on('error', (error) => fail(`cannot listen on ${host} port ${port}: ${error.message}`));
  server.listen({ host, port: Number(port), backlog: BACKLOG }, () => {
    const { address, port: boundPort } = server.address();
    console.log(`listens on ${address} port ${boundPort}`);
  });
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => shutDown(server));
}

function accept(socket) {
  // An error of one client, such as a reset, closes only its connection: `close` follows.
  socket.on('error', () => {});
  if (clients.size < CAPACITY) serve(socket);
  else reject(socket);
}

function serve(socket) {
  socket.setEncoding('latin1');
  const session = new Session(calc);
  const client = { socket, lastActive: 0 };
  clients.add(client);
  socket.on('data', (data) => {
    client.lastActive = performance.now();
    const replies = session.receive(data);
    // This bounds the memory: at most the replies to one read of 64 KiB are buffered.
    if (replies !== '' && !socket.write(replies)) socket.pause();
  });
  socket.on('drain', () => {
    client.lastActive = performance.now();
    socket.resume();
  });
  socket.on('end', () => {
    socket.write(session.endOfInput(), () => {
      // In this order: the slot must be free when the client sees the close.
      clients.delete(client);
      socket.end();
    });
  });
  socket.on('close', () => clients.delete(client));
}

/** Sends the busy line, with a lingering close: shuts the sending side, and discards input until
 * the client closes. Closing with unread input would send a reset, which can overtake the busy
 * line. */
function reject(socket) {
  if (lingering.size === MAX_LINGERING) lingering.values().next().value.destroy();
  lingering.add(socket);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.on('close', () => {
    clearTimeout(timer);
    lingering.delete(socket);
  });
  socket.end(BUSY);
  socket.resume();
}

/** Answers the input that has arrived, then exits with code 0. If that takes too long, for example
 * because a client does not read, exits with code 1. A second signal ends the server at once. */
async function shutDown(server) {
  process.removeAllListeners('SIGTERM').removeAllListeners('SIGINT');
  setTimeout(fail, DRAIN_DEADLINE_MS, 'drain timeout exceeded: the remaining connections are closed');
  server.close();
  lingering.forEach((socket) => socket.destroy());
  const began = performance.now();
  await Promise.all([...clients].map((client) => drain(client, began)));
  process.exit(0);
}

/** Waits until the input that has arrived is answered, and closes the connection. Node does not
 * report how much input has arrived. But each iteration of its loop reads from every ready socket:
 * if an iteration brings no input of the client, all input was read. A client that keeps sending is
 * cut off after DRAIN_READ_DEADLINE_MS. */
async function drain(client, began) {
  const { socket } = client;
  let checked;
  do {
    checked = performance.now();
    await sleep(DRAIN_POLL_INTERVAL_MS);
    await nextIteration();
  } while (
    !socket.destroyed &&
    (socket.writableLength > 0 ||
      (client.lastActive >= checked && checked < began + DRAIN_READ_DEADLINE_MS))
  );
  if (socket.destroyed) return;
  socket.pause();
  await new Promise((resolve) => {
    socket.on('close', resolve);
    socket.end(() => socket.destroy());
  });
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

main();
