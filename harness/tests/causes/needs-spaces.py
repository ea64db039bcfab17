# A calculator that repeats the expression. Without spaces around the operator, its reply is an echo
# with further text: `41+1 = undefined`.
# check: probed
# cases: results/ framing/single
# also: An error reply repeats control characters of the request unescaped
# probe: service = "calc"
# probe: spaced = true
# probe: value = "(?s)^.* = (-?[0-9][0-9.e+-]*)$"
import socket
import sys
import threading
import time


def answer(line):
    words = line.split()
    if len(words) != 3:
        return "undefined"
    try:
        a, operator, b = float(words[0]), words[1], float(words[2])
    except ValueError:
        return "invalid number"
    if operator == "+":
        return str(a + b)
    elif operator == "-":
        return str(a - b)
    elif operator == "*":
        return str(a * b)
    elif operator == "/":
        return str(a / b) if b != 0 else "invalid: division by zero"
    else:
        return "invalid operator"


def client_loop(conn):
    try:
        with conn, conn.makefile("r", encoding="latin-1", newline="\n") as f:
            for line in f:
                conn.sendall((line.rstrip("\r\n") + " = " + answer(line) + "\n").encode())
    except OSError:
        pass


def main():
    s = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
    while True:
        try:
            conn, addr = s.accept()
        except OSError:
            time.sleep(0.05)
            continue
        threading.Thread(target=client_loop, args=(conn,), daemon=True).start()


if __name__ == "__main__":
    main()
