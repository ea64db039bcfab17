# Wire protocol: the data of one recv is one request. The reply is the value, without a line end.
import re
import socket
import sys
import threading
import time

ALLOWED = re.compile(r"[0-9+\-*/. ()]+")


def calculate(text):
    if not ALLOWED.fullmatch(text) or "**" in text:
        return "error"
    try:
        # `text` has only digits and operators.
        value = eval(text)
        return str(value) if isinstance(value, (int, float)) else "error"
    except Exception:
        return "error"


def serve(connection):
    with connection:
        try:
            while True:
                data = connection.recv(1024)
                if not data:
                    break
                connection.sendall(calculate(data.decode("latin-1")).encode())
        except OSError:
            pass


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    server = socket.create_server((host, port))
    while True:
        try:
            connection, address = server.accept()
        except OSError:
            time.sleep(0.05)
            continue
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
