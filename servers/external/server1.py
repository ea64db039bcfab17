"""server1: an iterative server that refuses further connections while it serves a client.

    python3 server1.py HOST PORT

While the server serves a client, it does not listen: the kernel refuses new connections
(ECONNREFUSED) within microseconds. `listen(0)` would not do that: the second client would be
connected and wait in the accept queue, and only the third would be left out. The listening socket
is shut with shutdown(2) rather than closed, which keeps the port.

Each transition has a race. A client that connects between accept and shutdown is reset. A client
that connects before the next listen is refused, although the previous client has been served.
"""

import select
import sys

from calculator import calc
from serving import Listener, Shutdown, serve_connection


def main():
    shutdown = Shutdown()
    listener = Listener(backlog=0)
    while not shutdown.requested:
        select.select([listener, shutdown], [], [])
        client = None if shutdown.requested else listener.accept()
        if client is None:
            continue
        listener.stop_listening()
        with client:
            serve_connection(client, calc, shutdown)
        if not shutdown.requested:
            listen_again(listener)


def listen_again(listener):
    try:
        listener.listen_again()
    except OSError as error:
        # Another program now listens on the port.
        sys.exit(f"cannot listen again: {error}")


if __name__ == "__main__":
    main()
