# One event loop with select.
import select
import socket
import sys

listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
clients = []
while True:
    for ready in select.select([listener, *clients], [], [])[0]:
        if ready is listener:
            clients.append(listener.accept()[0])
        elif data := ready.recv(4096):
            ready.sendall(data)
        else:
            clients.remove(ready)
            ready.close()
