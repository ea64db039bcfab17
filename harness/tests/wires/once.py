# Wire protocol: one request per connection, a line. The reply ends when the server closes.
import re
import socket
import sys
import threading
import time

ALLOWED = re.compile(r"[0-9+\-*/. ()]+")


def calculate(text):
    if not ALLOWED.fullmatch(text) or "**" in text or "//" in text:
        raise ValueError(text)
    value = eval(text)
    if not isinstance(value, (int, float)):
        raise ValueError(text)
    return value


def serve(connection):
    try:
        with connection, connection.makefile("rb") as lines:
            request = lines.readline(65536).decode("latin-1").strip()
            try:
                reply = str(calculate(request))
            except Exception:
                reply = "cannot calculate that"
            connection.sendall(reply.encode())
            # A close with unread input would reset the connection and could discard the reply.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1)
            while lines.read(4096):
                pass
    except OSError:
        pass


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
while True:
    try:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
    except OSError:
        time.sleep(0.05)
