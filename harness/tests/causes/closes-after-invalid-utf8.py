# An echo server that replies to a line that is not valid UTF-8, and then closes the connection.
# check: --service echo
# cases: framing/single results/ malformed/invalid-utf8
# fault: The server closes the connection after the reply when invalid UTF-8 arrives
# also: The server exits when it has no free descriptor
import socket
import sys
import threading


def serve(client):
    with client, client.makefile("rb") as lines:
        for line in lines:
            client.sendall(line)
            try:
                line.decode()
            except UnicodeDecodeError:
                return


listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
