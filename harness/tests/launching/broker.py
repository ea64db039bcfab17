# A daemon that starts echo servers for its clients, as a container engine does.
#
# broker.py SOCKET [keep]: each line `HOST PORT` on the Unix socket starts a server. It ends when the
# client disconnects, unless `keep` is given.
import os
import socket
import sys
import threading


def echo(client):
    with client:
        try:
            while data := client.recv(4096):
                client.sendall(data)
        except OSError:
            pass


def serve(listener):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(client,), daemon=True).start()


def start(client):
    with client:
        host, port = client.makefile().readline().split()
        listener = socket.create_server((host, int(port)), backlog=128)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        client.sendall(b"started\n")
        while client.recv(4096):
            pass
        if "keep" not in sys.argv[2:]:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


broker = socket.socket(socket.AF_UNIX)
broker.bind(sys.argv[1])
broker.listen()
print("ready", flush=True)
while True:
    client, _ = broker.accept()
    threading.Thread(target=start, args=(client,), daemon=True).start()
