# Relays bytes between a server on a Unix socket and one client at a time. Waits without a timeout.
import select
import socket
import sys

with socket.create_server((sys.argv[1], int(sys.argv[2]))) as listener:
    while True:
        client, _ = listener.accept()
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(sys.argv[3])
            other = {client: server, server: client}
            while other:
                for source in select.select(list(other), [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        other = {}
                        break
                    other[source].sendall(data)
