import socket
import sys


def calculate(line):
    a, operator, b = line.split()
    if operator == "+":
        return int(a) + int(b)
    if operator == "-":
        return int(a) - int(b)
    if operator == "*":
        return int(a) * int(b)
    return int(a) / int(b)


def main(host, port):
    server = socket.create_server((host, port))
    while True:
        client, address = server.accept()
        for line in client.makefile():
            client.sendall(f"{calculate(line)}\n".encode())


if __name__ == "main":
    main(sys.argv[1], int(sys.argv[2]))
