# Wire protocol: one line per request and reply. The port is fixed, and cannot be bound while old
# connections are in TIME_WAIT.
import re
import socket
import threading
import time

HOST = "127.0.0.1"
PORT = 20551  # change it here

ALLOWED = re.compile(r"[0-9+\-*/. ()]+")


def calculate(text):
    if not ALLOWED.fullmatch(text) or "**" in text or "//" in text:
        return "error: only numbers and + - * / ( )"
    try:
        value = eval(text)
        return str(value) if isinstance(value, (int, float)) else "error: not a number"
    except ZeroDivisionError:
        return "error: division by zero"
    except Exception:
        return "error: not an expression"


def handle_client(client_socket):
    with client_socket:
        buffer = b""
        try:
            while data := client_socket.recv(1024):
                buffer += data
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    reply = calculate(line.decode("latin-1").strip())
                    client_socket.sendall(reply.encode() + b"\n")
            if buffer:
                reply = calculate(buffer.decode("latin-1").strip())
                client_socket.sendall(reply.encode() + b"\n")
        except OSError as error:
            print("client lost:", error)


server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server_socket.bind((HOST, PORT))
server_socket.listen(64)
print("Server listening on", HOST, PORT, flush=True)
while True:
    try:
        client_socket, client_address = server_socket.accept()
    except OSError:
        time.sleep(0.1)
        continue
    threading.Thread(target=handle_client, args=(client_socket,), daemon=True).start()
