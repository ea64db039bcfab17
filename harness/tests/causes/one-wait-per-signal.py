# An echo server with a process for each client. Its handler of SIGCHLD waits for one process, although
# signals are not queued.
# check: --service echo --shutdown abort
# cases: leaks/zombies framing/single
# fault: Child processes that have exited are not waited for (zombies)
# probe: shutdown = "abort"
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
    os.wait()


def stop(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    os._exit(0)



if os.getpgrp() != os.getpid():
    os.setpgrp()
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
        listener.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        serve(client)
        os._exit(0)
    client.close()
