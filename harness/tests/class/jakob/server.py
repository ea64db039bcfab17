"""Accepts every connection, reads all requests, and never replies."""

import socket
import sys
import threading


def read_forever(client):
    try:
        while client.recv(4096):
            pass
        threading.Event().wait()
    except OSError:
        pass


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
while True:
    client, _ = server.accept()
    threading.Thread(target=read_forever, args=(client,), daemon=True).start()
