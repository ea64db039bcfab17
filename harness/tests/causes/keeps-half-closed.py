# A server that replies with each line in upper case, also to an unterminated last line. After
# this, it does not close the connection.
# check: --service echo --transform upper --shutdown abort
# cases: framing/end-without-newline framing/single
# fault: The server does not close the connection when a client has shut down its sending side
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
                client.sendall(line.removesuffix(b"\r").upper() + b"\n")
        if buffer:
            client.sendall(buffer.upper())
            threading.Event().wait()
    except OSError:
        pass
    finally:
        client.close()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
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
    threading.Thread(target=serve, args=(client,), daemon=True).start()
