# An echo server with a process for each client. After SIGTERM, these processes serve their clients, and
# hold the listening socket.
# check: --service echo --shutdown abort
# cases: startup/restart shutdown/sigterm framing/single
# fault: The server cannot be restarted at once on the same port
# fault: Child processes of the server keep running when SIGTERM arrives
import os
import signal
import socket
import sys


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


def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0] > 0:
            pass
    except ChildProcessError:
        pass


def stop(*_):
    os._exit(0)


signal.signal(signal.SIGCHLD, reap)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
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
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        serve(client)
        os._exit(0)
    client.close()
