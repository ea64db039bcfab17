# An echo server with poll. At the end of the input, it does not close the socket, which stays
# readable for ever.
# check: --service echo --shutdown abort
# cases: framing/single idle/
# fault: The server spins after a client has closed its connection: it keeps a CPU busy and does no work
# also: The descriptor of a client that has shut down its sending side is not closed
# also: Descriptors of disconnected clients are not closed
# also: Another client gets no reply when a client never reads
import os
import select
import signal
import socket
import sys

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
poll = select.poll()
poll.register(listener, select.POLLIN)
clients = {}
ended = set()
spare = os.open("/dev/null", os.O_RDONLY)
while True:
    for number, _ in poll.poll():
        if number == listener.fileno():
            try:
                client, _ = listener.accept()
                clients[client.fileno()] = [client, b""]
                poll.register(client, select.POLLIN)
            except OSError:
                # No free descriptor: with the spare one, the connection is accepted and closed.
                os.close(spare)
                listener.accept()[0].close()
                spare = os.open("/dev/null", os.O_RDONLY)
            continue
        client, buffer = clients[number]
        try:
            data = client.recv(4096)
            if not data:
                if client not in ended:
                    ended.add(client)
                    if buffer:
                        client.sendall(buffer + b"\n")
                    client.shutdown(socket.SHUT_WR)
                continue
            *lines, clients[number][1] = (buffer + data).split(b"\n")
            for line in lines:
                client.sendall(line.removesuffix(b"\r") + b"\n")
        except OSError:
            poll.unregister(client)
            del clients[number]
            client.close()
