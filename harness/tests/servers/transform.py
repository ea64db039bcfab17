# A correct echo server with one thread per client, whose replies are transformed as the first argument
# says.
import codecs
import socket
import sys
import threading

STEPS = {
    "upper": bytes.upper,
    "lower": bytes.lower,
    "reverse": lambda line: line[::-1],
    "trim": bytes.strip,
    "trim-end": bytes.rstrip,
    "rot13": lambda line: codecs.encode(line.decode("latin-1"), "rot13").encode("latin-1"),
}


def reply(line):
    for step in sys.argv[1].split(","):
        line = STEPS[step](line)
    return line + b"\n"


def serve(client):
    try:
        with client, client.makefile("rb") as lines:
            for line in lines:
                client.sendall(reply(line.rstrip(b"\r\n")))
    except OSError:
        pass


listener = socket.create_server((sys.argv[2], int(sys.argv[3])), backlog=128)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
