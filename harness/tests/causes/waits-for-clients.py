# An echo server that exits with code 0 on SIGTERM, but only when its last client has disconnected.
# check: probed
# cases: framing/single contract/shutdown
# probe: concurrency-model = "threads"
# probe: all requests in flight are answered, then exit code 0, but only after all clients have disconnected
import signal
import socket
import sys
import threading
import time


def serve(client):
    try:
        with client, client.makefile("rb") as lines:
            for line in lines:
                client.sendall(line.rstrip(b"\n") + b"\n")
    except OSError:
        pass


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: sys.exit(0))
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        time.sleep(0.05)
        continue
    # The interpreter waits for its threads before it exits.
    threading.Thread(target=serve, args=(client,)).start()
