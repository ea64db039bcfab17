# Thread pool with a queue of connections. All threads start before the first client.
import queue
import socket
import sys
import threading

clients = queue.Queue()


def work():
    while True:
        with clients.get() as client:
            while data := client.recv(4096):
                client.sendall(data)


for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    client, _ = listener.accept()
    clients.put(client)
