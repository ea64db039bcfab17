# One process per connection.
import os
import signal
import socket
import sys

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    client, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        while data := client.recv(4096):
            client.sendall(data)
        os._exit(0)
    client.close()
