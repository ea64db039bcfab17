"""The line protocol without any socket: bytes in, replies out. All servers here share it.

A request is bytes up to a line feed; a carriage return before it is dropped. TCP is a stream: what
one recv returns may be half a request, or fifty, so the rest of an unfinished one is kept here.
Each request gets exactly one reply line, in order. One that is too long gets an error line at once,
and what is left of it is thrown away; the connection lives on.
"""

MAX_LINE = 4096  # bytes of a request, without its end
OUTPUT_BOUND = 64 * 1024  # bytes of replies that may wait for a slow reader

TOO_LONG = b"error: line too long (limit %d bytes)\n" % MAX_LINE
BUSY = b"error: busy, try again later\n"


class Session:
    """One client's side of the protocol. `answer` makes a reply of a request, both without end."""

    def __init__(self, answer):
        self.output = bytearray()  # replies to be sent
        self._answer = answer
        self._partial = b""  # the beginning of a request whose end has not come yet
        self._discarding = False  # the request was too long and is answered; the rest is nobody's
        self._ended = False

    def receive(self, data):
        """Takes what the client sent, and answers the requests that it completes."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            line, self._partial = self._partial + end, b""
            if self._discarding:
                self._discarding = False
            else:
                self._reply(line)
        if self._discarding:
            return
        self._partial += rest
        if is_too_long(self._partial):
            self._reply(self._partial)
            self._partial, self._discarding = b"", True

    def end_of_input(self):
        """The client will send no more: an unfinished last request is answered too."""
        self._ended = True
        if self._partial:
            self._reply(self._partial)
            self._partial = b""

    def sent(self, count):
        """So many bytes of the output are on their way."""
        del self.output[:count]

    def wants_input(self):
        """Whether to read more. When not, send first: the client's own window then fills."""
        return not self._ended and len(self.output) < OUTPUT_BOUND

    def is_finished(self):
        """Whether the client has ended its input and every reply owed was sent."""
        return self._ended and not self.output

    def _reply(self, line):
        if is_too_long(line):
            self.output += TOO_LONG
        else:
            self.output += self._answer(without_return(line)) + b"\n"


def without_return(line):
    return line[:-1] if line.endswith(b"\r") else line


def is_too_long(line):
    return len(without_return(line)) > MAX_LINE


def echo(line):
    """The service of an echo server."""
    return line
