# Ends the thread of a client that has closed, and does not close the connection.
# check: --service echo
# cases: disconnects leaks framing/end-without-newline
# fault: The server does not close the connection when a client has shut down its sending side
import socket
import sys
import threading
import time

connections = []


def serve(client):
    rest = b""
    try:
        while data := client.recv(65536):
            *lines, rest = (rest + data).split(b"\n")
            client.sendall(b"".join(line + b"\n" for line in lines))
        client.sendall(rest)
    except OSError:
        pass


listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        time.sleep(0.1)
        continue
    connections.append(client)
    threading.Thread(target=serve, args=[client], daemon=True).start()
