# Busy loop: tries each socket in turn, without waiting for events. The third argument is the pause
# in seconds between two rounds.
import socket
import sys
import time

listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
listener.setblocking(False)
clients = []
while True:
    try:
        client, _ = listener.accept()
        client.setblocking(False)
        clients.append(client)
    except BlockingIOError:
        pass
    for client in list(clients):
        try:
            if data := client.recv(4096):
                client.sendall(data)
            else:
                clients.remove(client)
                client.close()
        except BlockingIOError:
            pass
    time.sleep(float(sys.argv[3]))
