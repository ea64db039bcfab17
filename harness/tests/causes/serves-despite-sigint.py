# An iterative echo server. SIGINT ends it only when no client is connected.
# check: --service echo --shutdown abort --capacity 1 --when-full wait
# cases: shutdown/sigint shutdown/sigterm framing/single
# fault: The server does not exit when SIGINT arrives
import os
import signal
import socket
import sys

is_serving = is_stopped = False


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


def stop(*_):
    global is_stopped
    is_stopped = True
    if not is_serving:
        os._exit(0)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.signal(signal.SIGINT, stop)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
spare = os.open("/dev/null", os.O_RDONLY)
while not is_stopped:
    try:
        client, _ = listener.accept()
    except OSError:
        # No free descriptor: with the spare one, the connection is accepted and closed.
        os.close(spare)
        client, _ = listener.accept()
        client.close()
        spare = os.open("/dev/null", os.O_RDONLY)
        continue
    is_serving = True
    serve(client)
    is_serving = False
