"""server3: one loop over select for all clients, up to a number; one more is told that it is busy.

    python3 server3.py HOST PORT

A reactor: one thread asks the kernel which of many sockets are ready, and gives each of those a
turn that never blocks: one read, and as much written as the kernel takes. What does not fit waits
in the client's session, and nothing more is read from a client that does not take its replies.
A client too many gets the line `error: busy, …` and a clean end.
"""

import select

from calculator import calc
from lineserver import Session
from serving import CHUNK, Listener, Lingering, Stop, has_ended, unacknowledged, unread

CAPACITY = 64  # far below the 1,024 descriptors of select
BACKLOG = 128
LOOK_EVERY_S = 0.005


class Client:
    """A socket, and how far its conversation is."""

    def __init__(self, socket, answer):
        socket.setblocking(False)
        self.socket = socket
        self.session = Session(answer)
        self.unread = None  # once the server is to end: what had arrived by then, and was not read

    def fileno(self):
        return self.socket.fileno()

    def turn(self, is_readable):
        """Reads once at the most, and writes what the kernel takes. False when it is over."""
        try:
            if is_readable:
                self.read(CHUNK)
            self.write()
        except OSError:
            return False  # a reset, say: it ends this client, and nobody else
        return not self.session.is_finished()

    def last_turn(self):
        """As turn, when the server is to end: only what had arrived by then is read. The client is
        seen off when its kernel has taken in all replies."""
        try:
            if self.unread is None:
                self.unread = unread(self.socket)
            while self.unread > 0 and self.session.wants_input():
                self.unread -= self.read(min(CHUNK, self.unread))
                self.write()
            if self.unread == 0 and has_ended(self.socket):
                self.session.end_of_input()
            self.write()
            return self.unread > 0 or bool(self.session.output) or unacknowledged(self.socket) > 0
        except OSError:
            return False

    def read(self, most):
        data = self.socket.recv(most)
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
    stop = Stop()
    listener = Listener(BACKLOG)
    clients = set()
    lingering = Lingering()
    while not stop.requested:
        readers = [client for client in clients if client.session.wants_input()]
        writers = [client for client in clients if client.session.output]
        readers += [listener, stop, *lingering.sockets()]
        readable, writable, _ = select.select(readers, writers, [], lingering.timeout())
        for client in clients.intersection(readable + writable):
            if not client.turn(client in readable):
                see_off(client, clients)
        lingering.look()
        newcomer = listener.accept() if listener in readable else None
        if newcomer is not None and len(clients) < CAPACITY:
            clients.add(Client(newcomer, answer))
        elif newcomer is not None:
            lingering.add(newcomer)
    listener.close()
    drain(clients)


def see_off(client, clients):
    # In this order the place is free by the time that the client sees the end.
    clients.remove(client)
    client.socket.close()


def drain(clients):
    """Answers what has arrived, and ends when every client has its replies."""
    while clients:
        for client in list(clients):
            if not client.last_turn():
                see_off(client, clients)
        select.select([], [one for one in clients if one.session.output], [], LOOK_EVERY_S)


if __name__ == "__main__":
    serve(calc)
