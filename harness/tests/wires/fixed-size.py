# Wire protocol: a request is a line. A reply has 32 bytes, padded with spaces, or NUL if the third
# argument is `nul`.
import re
import socket
import sys
import threading
import time

SIZE = 32
FILL = b"\0" if sys.argv[3:] == ["nul"] else b" "
ALLOWED = re.compile(rb"[0-9+\-*/. ()]+")


def answer(line):
    text = line.strip()
    if not ALLOWED.fullmatch(text) or b"**" in text or b"//" in text:
        return b"error"
    try:
        value = eval(text)
        reply = str(value).encode()
    except Exception:
        return b"error"
    return reply if isinstance(value, (int, float)) and len(reply) <= SIZE else b"error"


def serve(connection):
    with connection, connection.makefile("rb") as lines:
        try:
            for line in lines:
                connection.sendall(answer(line).ljust(SIZE, FILL))
        except OSError:
            pass


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
while True:
    try:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
    except OSError:
        time.sleep(0.05)
