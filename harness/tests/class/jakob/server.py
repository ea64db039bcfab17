"""Listens, takes every client in, reads what it says, and never answers."""

import socket
import sys
import threading


def listen_patiently(client):
    try:
        while client.recv(4096):
            pass
        threading.Event().wait()
    except OSError:
        pass


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
while True:
    client, _ = server.accept()
    threading.Thread(target=listen_patiently, args=(client,), daemon=True).start()
