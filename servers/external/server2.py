"""server2: a thread per connection, up to a limit. A connection over the limit gets a busy line.

    python3 server2.py HOST PORT

The main thread accepts, and each connection gets a thread that makes blocking calls: the code is as
simple as for one client. The number of threads is limited, so that the machine does not run out of
threads or memory. A connection over the limit gets the line `error: busy, …` and a clean close.
"""

import select
import threading

from calculator import calc
from serving import LingeringClose, Listener, Shutdown, serve_connection

CAPACITY = 64
BACKLOG = 128


def main():
    shutdown = Shutdown()
    listener = Listener(BACKLOG)
    slots = threading.Semaphore(CAPACITY)
    lingering = LingeringClose()
    while not shutdown.requested:
        descriptors = [listener, shutdown, *lingering.sockets()]
        readable, _, _ = select.select(descriptors, [], [], lingering.timeout())
        lingering.advance()
        client = listener.accept() if listener in readable else None
        if client is None:
            continue
        if not start_thread(serve, client, slots, shutdown):
            lingering.reject(client)
    listener.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()


def start_thread(serve, client, slots, shutdown):
    """Serves a client in a thread. Returns False if no slot is free or no thread can be created."""
    if not slots.acquire(blocking=False):
        return False
    try:
        threading.Thread(target=serve, args=(client, slots, shutdown)).start()
    except RuntimeError:
        slots.release()
        return False
    return True


def serve(client, slots, shutdown):
    with client:
        serve_connection(client, calc, shutdown)
        # Before the socket is closed: the slot must be free when the client sees the close.
        slots.release()


if __name__ == "__main__":
    main()
