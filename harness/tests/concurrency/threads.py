# One thread per connection.
import socket
import sys
import threading


def serve(client):
    with client:
        while data := client.recv(4096):
            client.sendall(data)


listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
