"""The line protocol without sockets: bytes in, replies out. All Python servers here share it.

A request is a line that ends with a line feed; a carriage return before the line feed is dropped.
TCP is a stream: recv may return half a request or fifty requests, so the beginning of an incomplete
request is buffered here. Each request gets exactly one reply line, in order. A request that is too
long gets an error line at once. The rest of its line is discarded, and the connection stays open.
"""

MAX_LINE = 4096  # bytes of a request, without its line end
OUTPUT_BOUND = 64 * 1024  # bytes of unsent replies at which the server stops reading

TOO_LONG = b"error: line too long (limit %d bytes)\n" % MAX_LINE
BUSY = b"error: busy, try again later\n"


class Session:
    """The state of the protocol for one connection.

    `answer` returns the reply to a request; neither has a line end.
    """

    def __init__(self, answer):
        self.output = bytearray()  # unsent replies
        self._answer = answer
        self._partial = b""  # the beginning of a request whose line end has not arrived
        self._discarding = False  # whether to discard the rest of a line that was too long
        self._ended = False  # whether the input has ended

    def receive(self, data):
        """Processes input, and answers the requests that it completes."""
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
        """Ends the input, and answers an unterminated last request."""
        self._ended = True
        if self._partial:
            self._reply(self._partial)
            self._partial = b""

    def sent(self, count):
        """Removes the first `count` bytes from the output: they were sent."""
        del self.output[:count]

    def wants_input(self):
        """Returns whether to read more input. If not, send output first.

        If the client does not read, its TCP window fills, and the client waits (backpressure).
        """
        return not self._ended and len(self.output) < OUTPUT_BOUND

    def is_finished(self):
        """Returns whether the input has ended and every reply was sent."""
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
    """The service `echo`: replies with the request."""
    return line
