# Sends the messages of each client to all. It never removes a client that has left, and stops to
# serve the one whose message it cannot deliver.
# check: --service echo --broadcast all
# cases: framing/single isolation/churn results/deterministic
# fault: Some of many successive clients are not served
# also: The connection of another client is closed without a reply when clients connect and disconnect without a request
# cause: removed from the receivers
import socket
import sys
import threading

receivers = []


def serve(client):
    try:
        for line in client.makefile("rb"):
            for receiver in list(receivers):
                receiver.sendall(line)
    except OSError:
        pass
    client.shutdown(socket.SHUT_RDWR)


listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    client, _ = listener.accept()
    receivers.append(client)
    threading.Thread(target=serve, args=(client,), daemon=True).start()
