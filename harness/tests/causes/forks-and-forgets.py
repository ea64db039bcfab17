# Forks for each client, waits for no child, and ends no child on SIGTERM. The children hold
# the listening socket.
# check: --service echo --shutdown drain
# cases: leaks/zombies shutdown/sigterm startup/restart
# fault: Child processes that have exited are not waited for (zombies)
# fault: The server cannot be restarted at once on the same port
# fault: Child processes of the server keep running when SIGTERM arrives
# also: The server exits when it has no free descriptor
import os
import signal
import socket
import sys

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    client, _ = listener.accept()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        rest = b""
        try:
            while data := client.recv(65536):
                *lines, rest = (rest + data).split(b"\n")
                client.sendall(b"".join(line + b"\n" for line in lines))
            client.sendall(rest)
        except OSError:
            pass
        os._exit(0)
    client.close()
