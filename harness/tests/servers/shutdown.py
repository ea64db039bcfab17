"""An echo server with a thread for each client.

    shutdown.py BEHAVIOUR HOST PORT

BEHAVIOUR on SIGTERM: `default`, as without a handler; `drain`, answers what has arrived, then exits;
`late`, serves for half a second, then exits, whether or not its clients have their replies.
"""

import contextlib
import os
import signal
import socket
import sys
import threading

clients = {}


def serve(client):
    with client, client.makefile("rb") as lines:
        for line in lines:
            client.sendall(line)


def drain(*_):
    for client in clients:
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RD)
    for thread in clients.values():
        thread.join()
    os._exit(0)


def exit_late(*_):
    threading.Timer(0.5, os._exit, (0,)).start()


behaviour, host, port = sys.argv[1:]
handler = {"drain": drain, "late": exit_late}.get(behaviour)
if handler:
    signal.signal(signal.SIGTERM, handler)
listener = socket.create_server((host, int(port)), backlog=128)
while True:
    client, _ = listener.accept()
    clients[client] = threading.Thread(target=serve, args=(client,), daemon=True)
    clients[client].start()
