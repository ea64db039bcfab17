"""server2: a thread for each client, up to a number; one more is told that the server is busy.

    python3 server2.py HOST PORT

The main thread accepts, and each client has a thread that blocks on its behalf: code reads as if
there were one client. Without a cap a crowd would take all memory and threads of the machine, and
the kernel's refusal comes late and hurts more. A client beyond it gets the line `error: busy, …` and
a clean end.
"""

import select
import threading

from calculator import calc
from serving import Listener, Lingering, Stop, converse

CAPACITY = 64
BACKLOG = 128


def main():
    stop = Stop()
    listener = Listener(BACKLOG)
    places = threading.Semaphore(CAPACITY)
    lingering = Lingering()
    while not stop.requested:
        waited_for = [listener, stop, *lingering.sockets()]
        readable, _, _ = select.select(waited_for, [], [], lingering.timeout())
        lingering.look()
        client = listener.accept() if listener in readable else None
        if client is None:
            continue
        if not start(serve, client, places, stop):
            lingering.add(client)
    listener.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()


def start(serve, client, places, stop):
    """Whether there is a place for the client, and a thread."""
    if not places.acquire(blocking=False):
        return False
    try:
        threading.Thread(target=serve, args=(client, places, stop)).start()
    except RuntimeError:
        places.release()
        return False
    return True


def serve(client, places, stop):
    with client:
        converse(client, calc, stop)
        # In this order the place is free by the time that the client sees the end.
        places.release()


if __name__ == "__main__":
    main()
