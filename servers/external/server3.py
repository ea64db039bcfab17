"""server3: an event loop over select, with a connection limit.

    python3 server3.py HOST PORT

A reactor: one thread asks the kernel which sockets are ready, and does a bounded amount of work for
each of them without blocking. It reads once, and writes as much as the kernel accepts. Unsent
replies wait in the client's session. The server does not read from a client that does not read its
replies. A connection over the limit gets the line `error: busy, …` and a clean close.
"""

import select

from calculator import calc
from lineserver import Session
from serving import (
    READ_SIZE, LingeringClose, Listener, Shutdown, is_at_end_of_input, unacknowledged, unread
)

CAPACITY = 64  # far below the 1,024 descriptors of select
BACKLOG = 128
DRAIN_POLL_INTERVAL_S = 0.005


class Client:
    """A socket and the state of its protocol."""

    def __init__(self, socket, answer):
        socket.setblocking(False)
        self.socket = socket
        self.session = Session(answer)
        self.drain_limit = None  # during a drain: number of bytes that may still be read

    def fileno(self):
        return self.socket.fileno()

    def advance(self, is_readable):
        """Reads at most once, and writes what the kernel accepts. Returns False to close."""
        try:
            if is_readable:
                self.read(READ_SIZE)
            self.write()
        except OSError:
            return False  # An error of one client, such as a reset, closes only its connection.
        return not self.session.is_finished()

    def drain(self):
        """Like advance, but reads only the input that had arrived before the first call.

        Returns False to close, when the client's kernel has acknowledged all replies.
        """
        try:
            if self.drain_limit is None:
                self.drain_limit = unread(self.socket)
            while self.drain_limit > 0 and self.session.wants_input():
                self.drain_limit -= self.read(min(READ_SIZE, self.drain_limit))
                self.write()
            if self.drain_limit == 0 and is_at_end_of_input(self.socket):
                self.session.end_of_input()
            self.write()
            has_work = self.drain_limit > 0 or bool(self.session.output)
            return has_work or unacknowledged(self.socket) > 0
        except OSError:
            return False

    def read(self, size):
        data = self.socket.recv(size)
        if data:
            self.session.receive(data)
        else:
            self.session.end_of_input()
        return len(data)

    def write(self):
        if self.session.output:
            try:
                self.session.sent(self.socket.send(self.session.output))
            except BlockingIOError:
                pass


def serve(answer):
    shutdown = Shutdown()
    listener = Listener(BACKLOG)
    clients = set()
    lingering = LingeringClose()
    while not shutdown.requested:
        readers = [client for client in clients if client.session.wants_input()]
        writers = [client for client in clients if client.session.output]
        readers += [listener, shutdown, *lingering.sockets()]
        readable, writable, _ = select.select(readers, writers, [], lingering.timeout())
        for client in clients.intersection(readable + writable):
            if not client.advance(client in readable):
                close(client, clients)
        lingering.advance()
        connection = listener.accept() if listener in readable else None
        if connection is not None and len(clients) < CAPACITY:
            clients.add(Client(connection, answer))
        elif connection is not None:
            lingering.reject(connection)
    listener.close()
    drain(clients)


def close(client, clients):
    # In this order: the slot must be free when the client sees the close.
    clients.remove(client)
    client.socket.close()


def drain(clients):
    """Answers the input that has arrived, and returns when every client has its replies."""
    while clients:
        for client in list(clients):
            if not client.drain():
                close(client, clients)
        writers = [client for client in clients if client.session.output]
        select.select([], writers, [], DRAIN_POLL_INTERVAL_S)


if __name__ == "__main__":
    serve(calc)
