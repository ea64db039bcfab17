# An echo server with numbers between its descriptors that are not in use, as after it has read its
# configuration. It has no fault.
# check: --service echo --shutdown abort
# cases: exhaustion/
# probe: shutdown = "abort"
import os
import signal
import socket
import sys
import threading


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
    finally:
        client.close()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
for file in files[:-1]:
    os.close(file)
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
    threading.Thread(target=serve, args=(client,), daemon=True).start()
