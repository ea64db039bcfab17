"""server1: serves one client at a time, and the next is refused.

    python3 server1.py HOST PORT

While a client is served nobody listens: the kernel answers whoever comes with a reset, which is
ECONNREFUSED to the client, in microseconds and without a byte sent. `listen(0)` would not do that:
the next client would be connected, wait in the kernel's queue without a word, and only the third
would be left out. The listening socket is shut rather than closed, which keeps the port.

A client that comes just between accept and shut is reset; one that comes just after the end of a
client is refused although the server is free.
"""

import select
import sys

from calculator import calc
from serving import Listener, Stop, converse


def main():
    stop = Stop()
    listener = Listener(backlog=0)
    while not stop.requested:
        select.select([listener, stop], [], [])
        client = None if stop.requested else listener.accept()
        if client is None:
            continue
        listener.stop_listening()
        with client:
            converse(client, calc, stop)
        if not stop.requested:
            listen_again(listener)


def listen_again(listener):
    try:
        listener.listen_again()
    except OSError as error:
        # Another program has taken the port meanwhile, which nobody can be told but who looks here.
        sys.exit(f"cannot listen again: {error}")


if __name__ == "__main__":
    main()
