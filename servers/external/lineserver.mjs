// The line protocol without sockets: bytes in, replies out (lineserver.py in JavaScript). Bytes are
// strings in the encoding `latin1`, in which each character is one byte.

export const MAX_LINE = 4096; // bytes of a request, without its line end
export const BUSY = 'error: busy, try again later\n';

const TOO_LONG = `error: line too long (limit ${MAX_LINE} bytes)\n`;

/** The state of the protocol for one connection. `answer` returns the reply to a request; neither
 * has a line end. */
export class Session {
  constructor(answer) {
    this.answer = answer;
    this.partial = ''; // the beginning of a request whose line end has not arrived
    this.discarding = false; // whether to discard the rest of a line that was too long
  }

  /** Processes input, and returns the replies to the requests that it completes. */
  receive(data) {
    let replies = '';
    let from = 0;
    for (let end; (end = data.indexOf('\n', from)) !== -1; from = end + 1) {
      const line = this.partial + data.slice(from, end);
      this.partial = '';
      if (this.discarding) this.discarding = false;
      else replies += this.reply(line);
    }
    if (this.discarding) return replies;
    this.partial += data.slice(from);
    if (isTooLong(this.partial)) {
      replies += TOO_LONG;
      this.partial = '';
      this.discarding = true;
    }
    return replies;
  }

  /** Ends the input, and returns the reply to an unterminated last request, if any. */
  endOfInput() {
    const last = this.partial;
    this.partial = '';
    return last === '' ? '' : this.reply(last);
  }

  reply(line) {
    return isTooLong(line) ? TOO_LONG : `${this.answer(withoutReturn(line))}\n`;
  }
}

function withoutReturn(line) {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

function isTooLong(line) {
  return withoutReturn(line).length > MAX_LINE;
}
