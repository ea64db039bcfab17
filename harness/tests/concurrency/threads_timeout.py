# One thread per connection. With a timeout, Python calls poll before accept and recv.
import socket
import sys
import threading


def serve(client):
    client.settimeout(3600)
    with client:
        while data := client.recv(4096):
            client.sendall(data)


listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
listener.settimeout(3600)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
