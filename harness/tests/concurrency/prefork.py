# Four processes that accept from one listener.
import os
import socket
import sys

listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
for _ in range(3):
    if os.fork() == 0:
        break
while True:
    client, _ = listener.accept()
    with client:
        while data := client.recv(4096):
            client.sendall(data)
