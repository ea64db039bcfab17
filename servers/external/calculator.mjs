// The service `calc`: a line that holds an expression is answered by its value, as JavaScript has it.
//
// All numbers are doubles: `7 / 2` is 3.5, and whole numbers are exact up to 2^53. There is no eval
// here, which would hand the server to any stranger: the line is parsed by recursive descent, one
// function for each rank of operators. Equals are a loop; what recurses (signs, parentheses) is
// counted, because a stack has an end.

const MOST_OPEN = 64; // signs and parentheses that wait for their end

const NUMBER = /(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const SYMBOLS = '+-*/%()';

class Refused extends Error {}

/** The value of the expression, or words that begin with `error: `. */
export function calc(line) {
  try {
    const parser = new Parser(line);
    const value = parser.sum();
    parser.end();
    return String(value);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return `error: ${error.message}`;
  }
}

class Parser {
  constructor(line) {
    this.line = line;
    this.at = 0;
    this.open = 0;
    this.next();
  }

  /** Looks at the next token: a number, or a symbol, which at the end is none. */
  next() {
    const { line } = this;
    while (line[this.at] === ' ' || line[this.at] === '\t') this.at += 1;
    this.number = undefined;
    this.symbol = line[this.at];
    NUMBER.lastIndex = this.at;
    if (this.symbol === undefined) return;
    if (SYMBOLS.includes(this.symbol)) {
      this.at += 1;
    } else if (NUMBER.test(line)) {
      this.number = Number(line.slice(this.at, NUMBER.lastIndex));
      this.at = NUMBER.lastIndex;
    } else {
      // The error never repeats any of the client's bytes.
      throw new Refused('unexpected character');
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
      if (symbol !== '*' && right === 0) throw new Refused('division by zero');
      if (symbol === '*') value = finite(value * right);
      else value = finite(symbol === '/' ? value / right : value % right);
    }
    return value;
  }

  signed() {
    if (this.symbol === '-') return -this.within(() => this.signed());
    if (this.symbol === '+') return this.within(() => this.signed());
    if (this.symbol === '(') {
      const value = this.within(() => this.sum());
      if (this.symbol !== ')') throw new Refused('unbalanced parentheses');
      this.next();
      return value;
    }
    if (this.number === undefined) throw new Refused('not an expression');
    const value = finite(this.number);
    this.next();
    return value;
  }

  /** What follows a sign or an opening parenthesis. */
  within(inner) {
    if (this.open === MOST_OPEN) throw new Refused(`too deeply nested (limit ${MOST_OPEN})`);
    this.open += 1;
    this.next();
    const value = inner();
    this.open -= 1;
    return value;
  }

  take() {
    const { symbol } = this;
    this.next();
    return symbol;
  }

  end() {
    if (this.symbol !== undefined) throw new Refused('not an expression');
  }
}

function finite(number) {
  if (!Number.isFinite(number)) throw new Refused('not a finite number');
  return number;
}
