# Processes that use the CPUs without pause, and end after two minutes at the latest. Arguments: their
# number; then for a correct echo server that starts them, host and port. Without these, the program
# waits for the end of its input, and ends the processes.
import os
import signal
import socket
import sys
import threading
import time

LIFETIME = 120


def spin():
    parent, end = os.getppid(), time.monotonic() + LIFETIME
    while time.monotonic() < end and os.getppid() == parent:
        for _ in range(100_000):
            pass
    os._exit(0)


def serve(client):
    with client, client.makefile("rwb") as stream:
        for line in stream:
            stream.write(line.rstrip(b"\r\n") + b"\n")
            stream.flush()


children = []
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        spin()
    children.append(child)
if len(sys.argv) < 4:
    sys.stdin.read()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    sys.exit()
listener = socket.create_server((sys.argv[2], int(sys.argv[3])), backlog=128)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
