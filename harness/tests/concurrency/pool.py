# Thread pool. Python starts its threads when clients connect.
import socket
import sys
from concurrent.futures import ThreadPoolExecutor


def serve(client):
    with client:
        while data := client.recv(4096):
            client.sendall(data)


listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
with ThreadPoolExecutor(8) as pool:
    while True:
        client, _ = listener.accept()
        pool.submit(serve, client)
