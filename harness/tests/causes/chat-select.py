# A chat server: it sends each line to all clients, and to the sender too.
# check: --service echo
# cases: framing/single isolation/ results/
# fault: A client receives what other clients send
# probe: service = "echo"
# probe: broadcast = "all"
import selectors
import socket
import sys

listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
listener.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
buffers = {}


def leave(client):
    selector.unregister(client)
    del buffers[client]
    client.close()


def send_to_all(line):
    for client in list(buffers):
        try:
            client.sendall(line)
        except OSError:
            leave(client)


while True:
    for key, _ in selector.select():
        client = key.fileobj
        if client is listener:
            try:
                client, _ = listener.accept()
            except OSError:
                continue
            client.settimeout(1)
            selector.register(client, selectors.EVENT_READ)
            buffers[client] = b""
            continue
        if client not in buffers:
            continue
        try:
            data = client.recv(4096)
        except OSError:
            data = b""
        *lines, rest = (buffers[client] + data).split(b"\n")
        buffers[client] = rest
        for line in lines:
            send_to_all(line.removesuffix(b"\r") + b"\n")
        if not data and client in buffers:
            if buffers[client]:
                send_to_all(buffers[client] + b"\n")
            if client in buffers:
                leave(client)
