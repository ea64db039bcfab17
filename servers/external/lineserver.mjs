// The line protocol without any socket: bytes in, replies out; lineserver.py in JavaScript. Bytes are
// strings in the encoding `latin1`, in which each character is one byte.

export const MAX_LINE = 4096; // bytes of a request, without its end
export const BUSY = 'error: busy, try again later\n';

const TOO_LONG = `error: line too long (limit ${MAX_LINE} bytes)\n`;

/** One client's side of the protocol. `answer` makes a reply of a request, both without end. */
export class Session {
  constructor(answer) {
    this.answer = answer;
    this.partial = ''; // the beginning of a request whose end has not come yet
    this.discarding = false; // the request was too long and is answered; the rest is nobody's
  }

  /** Takes what the client sent, and gives the replies to the requests that it completes. */
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

  /** The client will send no more: an unfinished last request is answered too. */
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
