# An echo server with one process per client. On SIGTERM, the parent exits with code 0, and its
# children go on serving their clients.
# check: probed
# cases: framing/single contract/shutdown
# fault: Child processes of the server keep running when SIGTERM arrives during requests
# probe: concurrency-model = "fork"
# probe: all requests in flight are answered, then exit code 0, but one of its processes is still running
import os
import signal
import socket
import sys
import time


def serve(client):
    with client.makefile("rb") as lines:
        for line in lines:
            client.sendall(line.rstrip(b"\n") + b"\n")


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: os._exit(0))
# The kernel reaps the children.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    try:
        client, _ = listener.accept()
        child = os.fork()
    except OSError:
        time.sleep(0.05)
        continue
    if child == 0:
        listener.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        try:
            serve(client)
        except OSError:
            pass
        os._exit(0)
    client.close()
