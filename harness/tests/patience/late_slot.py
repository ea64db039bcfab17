# A correct echo server that serves one client at a time, and frees the connection slot 5 to 50 ms
# after the client has left. The third argument is what happens to another client: it waits ("queue"),
# is refused, reset, closed, or gets the line in the fourth argument.
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

host, port, policy = sys.argv[1], int(sys.argv[2]), sys.argv[3]
slot = threading.Lock()


def serve(client):
    buffer = b""
    try:
        while data := client.recv(4096):
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                client.sendall(line.removesuffix(b"\r") + b"\n")
        if buffer:
            client.sendall(buffer + b"\n")
    except OSError:
        pass
    client.close()
    time.sleep(random.uniform(0.005, 0.050))


def serve_in_slot(client):
    serve(client)
    slot.release()


def reject(client):
    if policy == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif policy == "line":
        try:
            client.sendall(sys.argv[4].encode() + b"\n")
            client.shutdown(socket.SHUT_WR)
            client.settimeout(1)
            while client.recv(4096):
                pass
        except OSError:
            pass
    client.close()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
listener = socket.create_server((host, port), backlog=128)
spare = os.open("/dev/null", os.O_RDONLY)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        # No free descriptor: with the spare one, the connection is accepted and closed.
        os.close(spare)
        client, _ = listener.accept()
        client.close()
        spare = os.open("/dev/null", os.O_RDONLY)
        continue
    if policy == "queue":
        serve(client)
    elif policy == "refused":
        listener.close()
        serve(client)
        listener = socket.create_server((host, port), backlog=128)
    elif slot.acquire(blocking=False):
        threading.Thread(target=serve_in_slot, args=(client,), daemon=True).start()
    else:
        threading.Thread(target=reject, args=(client,), daemon=True).start()
