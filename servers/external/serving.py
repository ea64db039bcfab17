"""Shared code of the Python servers, except the protocol: listening, shutdown, rejecting
connections, and serving a connection with blocking calls. Linux only.
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

READ_SIZE = 4096  # bytes per read, the maximum that a client gets per iteration
FD_SETSIZE = 1024  # select accepts only descriptors below this number
DRAIN_DEADLINE_S = 3
LINGER_S = 1
MAX_LINGERING = 16
BACK_OFF_S = 0.01

TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8  # the kernel's include/net/tcp_states.h


class Shutdown:
    """The shutdown request: SIGTERM or SIGINT. Readable for select once it was requested.

    The server then answers the input that has arrived, and exits with code 0. If that takes too
    long, for example because a client does not read, it exits with code 1. A second signal ends the
    server at once.
    """

    def __init__(self):
        self.requested = False
        self._reader, self._writer = os.pipe()
        signal.signal(signal.SIGTERM, self._request)
        signal.signal(signal.SIGINT, self._request)
        signal.signal(signal.SIGALRM, self._cut_drain)

    def fileno(self):
        return self._reader

    def _request(self, *_):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.alarm(DRAIN_DEADLINE_S)
        self.requested = True
        os.close(self._writer)  # The read end stays readable, for all threads.

    def _cut_drain(self, *_):
        os.write(sys.stderr.fileno(), b"drain timeout exceeded: the remaining connections are closed\n")
        os._exit(1)


class Listener:
    """The listening socket, at the address of the arguments, and a spare descriptor."""

    def __init__(self, backlog):
        if len(sys.argv) != 3:
            sys.exit(f"usage: python3 {sys.argv[0]} HOST PORT")
        host, port = sys.argv[1:]
        try:
            self._socket = bind(host, int(port))
            if int(port) == 0:
                # A port that the kernel chose is released when the socket stops listening, even
                # briefly. A port that was bound by number is not.
                self._socket = bind(host, self._socket.getsockname()[1])
            self._socket.listen(backlog)
        except (OSError, OverflowError, ValueError) as error:
            sys.exit(f"cannot listen on {host} port {port}: {error}")
        # A client may disconnect after select has returned: then accept must not block.
        self._socket.setblocking(False)
        self._backlog = backlog
        self._spare = spare_descriptor()
        print("listens on {} port {}".format(*self._socket.getsockname()), flush=True)

    def fileno(self):
        return self._socket.fileno()

    def accept(self):
        """Returns the next client to serve, or None if there is none. Never raises OSError."""
        try:
            client, _ = self._socket.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._reject_with_spare()
            elif error.errno in (errno.ENOBUFS, errno.ENOMEM):
                time.sleep(BACK_OFF_S)
            return None
        if client.fileno() >= FD_SETSIZE:
            reject_without_linger(client)
            return None
        return client

    def stop_listening(self):
        """Stops listening: the kernel then refuses new connections (ECONNREFUSED)."""
        self._socket.shutdown(socket.SHUT_RD)

    def listen_again(self):
        self._socket.listen(self._backlog)

    def close(self):
        self._socket.close()

    def _reject_with_spare(self):
        """Rejects a client when no descriptor is free, with the spare descriptor.

        At the descriptor limit accept fails at once and the client stays queued, so the loop would
        spin.
        """
        if self._spare is not None:
            os.close(self._spare)
        try:
            reject_without_linger(self._socket.accept()[0])
        except OSError:
            time.sleep(BACK_OFF_S)
        self._spare = spare_descriptor()


class LingeringClose:
    """Rejected clients that got the busy line and have not closed their side yet.

    Closing with unread input sends a reset, which can overtake the busy line. So the sending side
    is shut, and the client's input is discarded.
    """

    def __init__(self):
        self._deadlines = {}  # by socket

    def reject(self, client):
        if len(self._deadlines) == MAX_LINGERING:
            self._close(next(iter(self._deadlines)))
        client.setblocking(False)
        self._deadlines[client] = time.monotonic() + LINGER_S
        try:
            client.send(BUSY)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(client)

    def sockets(self):
        return list(self._deadlines)

    def timeout(self):
        """Returns the timeout for select, in seconds."""
        if not self._deadlines:
            return None
        return max(0, min(self._deadlines.values()) - time.monotonic())

    def advance(self):
        """Discards input, and closes the clients that are done or past their deadline."""
        for client, deadline in list(self._deadlines.items()):
            try:
                is_done = client.recv(READ_SIZE) == b""
            except BlockingIOError:
                is_done = False
            except OSError:
                is_done = True
            if is_done or deadline <= time.monotonic():
                self._close(client)

    def _close(self, client):
        del self._deadlines[client]
        client.close()


def serve_connection(client, answer, shutdown):
    """Serves a client with blocking calls until its input ends or the server shuts down."""
    session = Session(answer)
    try:
        while not session.is_finished():
            select.select([client, shutdown], [], [])
            if shutdown.requested:
                return drain(client, session)
            data = client.recv(READ_SIZE)
            if data:
                session.receive(data)
            else:
                session.end_of_input()
            send_all(client, session)
    except OSError:
        pass  # An error of one client, such as a reset, closes only its connection.


def drain(client, session):
    """Answers the input that has arrived, and no later input.

    Without that limit, a client that keeps sending could delay the shutdown for ever.
    """
    limit = unread(client)
    while limit > 0:
        data = client.recv(min(limit, READ_SIZE))
        limit -= len(data)
        session.receive(data)
        send_all(client, session)
    if is_at_end_of_input(client):
        session.end_of_input()
        send_all(client, session)
    while unacknowledged(client) > 0:
        time.sleep(BACK_OFF_S)


def send_all(client, session):
    client.sendall(session.output)  # blocks while the client does not read
    session.sent(len(session.output))


def bind(host, port):
    if not 0 <= port <= 65_535:
        raise ValueError("a port is a number from 0 to 65535")
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    # Connections of an earlier run in TIME_WAIT must not block the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener


def spare_descriptor():
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def reject_without_linger(client):
    """Sends the busy line and closes the connection."""
    try:
        with client:
            client.setblocking(False)
            client.send(BUSY)
    except OSError:
        pass


def unread(client):
    """Returns how many received bytes were not read (SIOCINQ)."""
    return ioctl_int(client, termios.FIONREAD)


def unacknowledged(client):
    """Returns how many sent bytes the client's kernel has not acknowledged (SIOCOUTQ).

    Closing with unread input would discard these bytes.
    """
    return 0 if state(client) == TCP_CLOSE else ioctl_int(client, termios.TIOCOUTQ)


def is_at_end_of_input(client):
    """Returns whether the client has sent a FIN and all its input was read."""
    return state(client) == TCP_CLOSE_WAIT and unread(client) == 0


def ioctl_int(client, request):
    return int.from_bytes(fcntl.ioctl(client, request, bytes(4)), sys.byteorder)


def state(client):
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
