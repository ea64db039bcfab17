# Echoes lines that it decodes as Latin-1 and encodes as UTF-8.
# check: --service echo
# cases: results malformed
# fault: An echo of invalid UTF-8 differs from the line that was sent
# cause: keep them as bytes
# also: Without a free descriptor the server spins: it keeps a CPU busy and does no work
import socketserver
import sys


class Client(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                text = line.decode("latin-1")
            self.wfile.write(text.encode("utf-8"))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128


Server((sys.argv[1], int(sys.argv[2])), Client).serve_forever()
