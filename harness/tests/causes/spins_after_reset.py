# An echo server with a process per client. After a failed send, the process tries again for ever.
# check: --service echo --shutdown abort
# cases: framing/single idle/
# fault: The server spins after a client has reset its connection: it keeps a CPU busy and does no work
import os
import signal
import socket
import sys


def send(client, data):
    while data:
        try:
            data = data[client.send(data):]
        except OSError:
            pass


def serve(client):
    buffer = b""
    try:
        while data := client.recv(4096):
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                send(client, line.removesuffix(b"\r") + b"\n")
        if buffer:
            send(client, buffer + b"\n")
    except OSError:
        pass
    client.close()


signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
signal.signal(signal.SIGINT, lambda *_: os.killpg(0, signal.SIGKILL))
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
spare = os.open("/dev/null", os.O_RDONLY)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        # No free descriptor: with the spare one, the connection is accepted and closed.
        os.close(spare)
        listener.accept()[0].close()
        spare = os.open("/dev/null", os.O_RDONLY)
        continue
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        listener.close()
        serve(client)
        os._exit(0)
    client.close()
