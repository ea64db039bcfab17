# An echo server in upper case with a pool of 4 threads. It accepts every connection, and connections
# over the limit wait for a thread in a queue without limit.
# check: probed
# cases: refusal/ contract/
# probe: transform = "upper"
# probe: capacity = 4
# probe: when-full = "wait"
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def serve(client):
    try:
        with client, client.makefile("rb") as lines:
            for line in lines:
                client.sendall(line.rstrip(b"\r\n").upper() + b"\n")
    except OSError:
        pass


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_DFL)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
pool = ThreadPoolExecutor(4)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        time.sleep(0.05)
        continue
    pool.submit(serve, client)
