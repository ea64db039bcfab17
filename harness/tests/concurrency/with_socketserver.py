# A server class of the module socketserver. The third argument is its name.
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


server = getattr(socketserver, sys.argv[3])
server.allow_reuse_address = True
with server((sys.argv[1], int(sys.argv[2])), Handler) as one:
    one.serve_forever()
