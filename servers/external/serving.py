"""What these servers share beside the protocol: where to listen, when to end, how to turn a client
away so that it hears of it, and how to serve one with calls that block. Linux only.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import sys
import termios
import time

from lineserver import BUSY, Session

CHUNK = 4096  # read at once: what one client gets of a turn
FD_SETSIZE = 1024  # select takes no descriptor from this one on
DRAIN_DEADLINE_S = 3
LINGER_S = 1
MOST_LINGERING = 16
BACK_OFF_S = 0.01

TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8  # the kernel's include/net/tcp_states.h


class Stop:
    """The request to end: SIGTERM or SIGINT. select finds it readable from then on.

    Clients then get the replies to what they had sent, and the exit code is 0; it is 1 if that
    takes too long, as with a client that does not read. A second signal ends the server at once.
    """

    def __init__(self):
        self.requested = False
        self._reader, self._writer = os.pipe()
        signal.signal(signal.SIGTERM, self._request)
        signal.signal(signal.SIGINT, self._request)
        signal.signal(signal.SIGALRM, self._give_up)

    def fileno(self):
        return self._reader

    def _request(self, *_):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.alarm(DRAIN_DEADLINE_S)
        self.requested = True
        os.close(self._writer)  # the end of a pipe is seen by every thread, and for good

    def _give_up(self, *_):
        os.write(sys.stderr.fileno(), b"drain took too long: the remaining clients are cut\n")
        os._exit(1)


class Listener:
    """The socket that listens where the arguments say, and a spare descriptor for hard times."""

    def __init__(self, backlog):
        if len(sys.argv) != 3:
            sys.exit(f"usage: python3 {sys.argv[0]} HOST PORT")
        host, port = sys.argv[1:]
        try:
            self._socket = bound(host, int(port))
            if int(port) == 0:
                # A port that the kernel chose is lost when the socket stops listening, even for a
                # moment. One that is bound by its number stays.
                self._socket = bound(host, self._socket.getsockname()[1])
            self._socket.listen(backlog)
        except (OSError, OverflowError, ValueError) as error:
            sys.exit(f"cannot listen on {host} port {port}: {error}")
        # Who was seen waiting may have gone again: that must not block the server.
        self._socket.setblocking(False)
        self._backlog = backlog
        self._spare = spare_descriptor()
        print("listens on {} port {}".format(*self._socket.getsockname()), flush=True)

    def fileno(self):
        return self._socket.fileno()

    def accept(self):
        """The next client, or None if there is none to be served. Nothing here ends the server."""
        try:
            client, _ = self._socket.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away_with_the_spare()
            elif error.errno in (errno.ENOBUFS, errno.ENOMEM):
                time.sleep(BACK_OFF_S)
            return None
        if client.fileno() >= FD_SETSIZE:
            tell_busy(client)
            return None
        return client

    def stop_listening(self):
        """From now on the kernel refuses whoever comes (ECONNREFUSED)."""
        self._socket.shutdown(socket.SHUT_RD)

    def listen_again(self):
        self._socket.listen(self._backlog)

    def close(self):
        self._socket.close()

    def _turn_away_with_the_spare(self):
        """Without a descriptor accept fails at once, and the client stays at the door: a loop would
        spin. One is given up for a moment to accept that client, tell it and close."""
        if self._spare is not None:
            os.close(self._spare)
        try:
            tell_busy(self._socket.accept()[0])
        except OSError:
            time.sleep(BACK_OFF_S)
        self._spare = spare_descriptor()


class Lingering:
    """Clients that were told that the server is busy, until they have closed their side.

    To close over input that was not read resets the connection, and the reset can overtake the busy
    line. So the sending side is shut, and what the client had sent already is read and thrown away.
    """

    def __init__(self):
        self._clients = {}  # socket: when it is closed in any case

    def add(self, client):
        if len(self._clients) == MOST_LINGERING:
            self._close(next(iter(self._clients)))
        client.setblocking(False)
        self._clients[client] = time.monotonic() + LINGER_S
        try:
            client.send(BUSY)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(client)

    def sockets(self):
        return list(self._clients)

    def timeout(self):
        """How long select may wait."""
        if not self._clients:
            return None
        return max(0, min(self._clients.values()) - time.monotonic())

    def look(self):
        for client, deadline in list(self._clients.items()):
            try:
                is_over = client.recv(CHUNK) == b""
            except BlockingIOError:
                is_over = False
            except OSError:
                is_over = True
            if is_over or deadline <= time.monotonic():
                self._close(client)

    def _close(self, client):
        del self._clients[client]
        client.close()


def converse(client, answer, stop):
    """Serves one client with calls that block, until it ends or the server is to end."""
    session = Session(answer)
    try:
        while not session.is_finished():
            select.select([client, stop], [], [])
            if stop.requested:
                return answer_what_has_arrived(client, session)
            data = client.recv(CHUNK)
            if data:
                session.receive(data)
            else:
                session.end_of_input()
            send_all(client, session)
    except OSError:
        pass  # a reset, say: it ends this client, and nobody else


def answer_what_has_arrived(client, session):
    """The server is to end. A client that goes on asking cannot keep it: only what has arrived by
    now is read."""
    left = unread(client)
    while left > 0:
        data = client.recv(min(left, CHUNK))
        left -= len(data)
        session.receive(data)
        send_all(client, session)
    if has_ended(client):
        session.end_of_input()
        send_all(client, session)
    while unacknowledged(client) > 0:
        time.sleep(BACK_OFF_S)


def send_all(client, session):
    client.sendall(session.output)  # it blocks while the client does not read
    session.sent(len(session.output))


def bound(host, port):
    if not 0 <= port <= 65_535:
        raise ValueError("a port is a number from 0 to 65535")
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    # Old connections in TIME_WAIT do not keep a new server from its port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener


def spare_descriptor():
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def tell_busy(client):
    """Tells a client for whom there is no place to linger."""
    try:
        with client:
            client.setblocking(False)
            client.send(BUSY)
    except OSError:
        pass


def unread(client):
    """Bytes that have arrived and were not read (SIOCINQ)."""
    return asked(client, termios.FIONREAD)


def unacknowledged(client):
    """Bytes that were sent and the client's kernel has not taken in yet (SIOCOUTQ). To close over
    unread input before that would lose them."""
    return 0 if state(client) == TCP_CLOSE else asked(client, termios.TIOCOUTQ)


def has_ended(client):
    """Whether the client has ended its side, and all that it sent was read."""
    return state(client) == TCP_CLOSE_WAIT and unread(client) == 0


def asked(client, what):
    return int.from_bytes(fcntl.ioctl(client, what, bytes(4)), sys.byteorder)


def state(client):
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
