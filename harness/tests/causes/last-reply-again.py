# An echo server that keeps the last reply in a variable of all clients, and sends it at the end of input.
# check: --service echo --shutdown abort
# cases: disconnects/nothing-said framing/single
# fault: A client that sends nothing gets the reply to another client
import os
import signal
import socket
import sys
import threading


reply = b""


def serve(client):
    global reply
    buffer = b""
    is_silent = True
    try:
        while data := client.recv(4096):
            buffer += data
            is_silent = False
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                reply = line.removesuffix(b"\r") + b"\n"
                client.sendall(reply)
        if is_silent:
            client.sendall(reply)
        if buffer:
            client.sendall(buffer + b"\n")
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
