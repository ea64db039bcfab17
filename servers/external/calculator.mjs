// The service `calc`: replies with the value of an expression, as JavaScript computes it.
//
// All numbers are doubles: `7 / 2` is 3.5, and integers are exact up to 2^53. The server does not
// use eval, which would let clients run code. A recursive-descent parser has one function for each
// precedence level. Operators of equal precedence are handled in a loop. Signs and parentheses
// recurse, so their nesting is limited.

const MAX_DEPTH = 64; // nested signs and parentheses

const NUMBER = /(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const SYMBOLS = '+-*/%()';

class CalcError extends Error {}

/** Returns the value of the expression, or a message that begins with `error: `. */
export function calc(line) {
  try {
    const parser = new Parser(line);
    const value = parser.sum();
    parser.end();
    return String(value);
  } catch (error) {
    if (!(error instanceof CalcError)) throw error;
    return `error: ${error.message}`;
  }
}

class Parser {
  constructor(line) {
    this.line = line;
    this.position = 0;
    this.depth = 0;
    this.next();
  }

  /** Reads the next token: `number` or `symbol` is set, or neither at the end of the line. */
  next() {
    const { line } = this;
    while (line[this.position] === ' ' || line[this.position] === '\t') this.position += 1;
    this.number = undefined;
    this.symbol = line[this.position];
    NUMBER.lastIndex = this.position;
    if (this.symbol === undefined) return;
    if (SYMBOLS.includes(this.symbol)) {
      this.position += 1;
    } else if (NUMBER.test(line)) {
      this.number = Number(line.slice(this.position, NUMBER.lastIndex));
      this.position = NUMBER.lastIndex;
    } else {
      // An error never repeats bytes of the request.
      throw new CalcError('unexpected character');
    }
  }

  sum() {
    let value = this.product();
    while (this.symbol === '+' || this.symbol === '-') {
      const symbol = this.take();
      const right = this.product();
      value = finite(symbol === '+' ? value + right : value - right);
    }
    return value;
  }

  product() {
    let value = this.signed();
    while (this.symbol === '*' || this.symbol === '/' || this.symbol === '%') {
      const symbol = this.take();
      const right = this.signed();
      if (symbol !== '*' && right === 0) throw new CalcError('division by zero');
      if (symbol === '*') value = finite(value * right);
      else value = finite(symbol === '/' ? value / right : value % right);
    }
    return value;
  }

  signed() {
    if (this.symbol === '-') return -this.nested(() => this.signed());
    if (this.symbol === '+') return this.nested(() => this.signed());
    if (this.symbol === '(') {
      const value = this.nested(() => this.sum());
      if (this.symbol !== ')') throw new CalcError('unbalanced parentheses');
      this.next();
      return value;
    }
    if (this.number === undefined) throw new CalcError('not an expression');
    const value = finite(this.number);
    this.next();
    return value;
  }

  /** Parses the operand of a sign or an opening parenthesis. */
  nested(parseOperand) {
    if (this.depth === MAX_DEPTH) throw new CalcError(`too deeply nested (limit ${MAX_DEPTH})`);
    this.depth += 1;
    this.next();
    const value = parseOperand();
    this.depth -= 1;
    return value;
  }

  take() {
    const { symbol } = this;
    this.next();
    return symbol;
  }

  end() {
    if (this.symbol !== undefined) throw new CalcError('not an expression');
  }
}

function finite(number) {
  if (!Number.isFinite(number)) throw new CalcError('not a finite number');
  return number;
}
