# A server that replies with each line reversed. The task asks for an echo, so this is its only fault.
# check: --service echo --shutdown abort
# cases: framing/single results/ isolation/no-broadcast
# fault: An echo differs from the line that was sent
# probe: service = "echo"
# probe: transform = "reverse"
import os
import signal
import socket
import sys
import threading


def answer(line):
    return line.removesuffix(b"\r")[::-1] + b"\n"


def serve(client):
    buffer = b""
    try:
        while data := client.recv(4096):
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                client.sendall(answer(line))
        if buffer:
            client.sendall(answer(buffer))
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
