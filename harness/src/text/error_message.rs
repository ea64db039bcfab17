//! The error message in the output of a program that crashed.

/// The end of the output of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputEnd {
    /// The last error message, as one line.
    Error(String),
    /// The last line; no line is an error message.
    Line(String),
}

impl OutputEnd {
    /// Returns the text of the message or line.
    pub fn text(&self) -> &str {
        let (OutputEnd::Error(text) | OutputEnd::Line(text)) = self;
        text
    }
}

/// Maximum number of lines of one message.
const MAX_LINES: usize = 6;

/// Words that mark a line as an error message, in lower case.
const ERROR_WORDS: &[&str] = &[
    "error",
    "exception",
    "panic",
    "fault",
    "abort",
    "assert",
    "terminate",
    "overflow",
    "fatal",
    "free()",
    "malloc",
    "corrupt",
    "smashing",
    "died at",
    "cannot ",
    "can't ",
    "failed",
];

/// Beginnings of lines that follow an error message, in lower case: frames and notes of Rust,
/// Node.js, Java, Go and Ruby.
const TRAILERS: &[&str] = &[
    "note:",
    "at ",
    "node.js v",
    "goroutine ",
    "exit status ",
    "emitted ",
    "from ",
    "... ",
    "stack backtrace:",
    "traceback (",
    "exception in thread thread-",
    "exception ignored in",
    "during handling of",
    "the above exception",
    "(use `node",
];

/// Line before the frames of a Python exception. The innermost frame is last.
const PYTHON_TRACEBACK: &str = "Traceback (most recent call last):";

/// Lines between the exceptions of a Python chain.
const PYTHON_CHAIN: &[&str] = &[
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];

/// Part of the first line of a Rust panic. The message follows in the next lines.
const RUST_PANIC: &str = "panicked at";

/// Beginnings of lines after the message of a Rust panic.
const RUST_TRAILERS: &[&str] = &["note:", "stack backtrace:"];

/// Beginning of a frame of Node.js and Java.
const FRAME: &str = "at ";

/// Beginning of the cause of a Java exception.
const JAVA_CAUSE: &str = "Caused by: ";

/// Beginning of the message of an uncaught C++ exception, in the line after its type.
const CPP_MESSAGE: &str = "what():";

/// Returns the last error message of a program's output, or its last line if there is none.
/// Returns `None` for blank output.
pub fn output_end(output: &str) -> Option<OutputEnd> {
    let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
    let last = lines.iter().rposition(|line| !line.trim().is_empty())?;
    let lines = &lines[..=last];
    // The message that begins last: a program may log other errors before it crashes.
    let structured = [python(lines), rust(lines), with_frames(lines)];
    let found = structured.into_iter().flatten().max_by_key(|message| message.from);
    let plain = plain_error(lines);
    let message = match (found, plain) {
        // An error word in a structured message, or in an indented note after it, is a part of it.
        (Some(found), Some(plain))
            if found.end > plain.from || lines[plain.from].starts_with([' ', '\t']) =>
        {
            found
        }
        (_, Some(plain)) => plain,
        (Some(found), None) => found,
        (None, None) => return Some(OutputEnd::Line(lines[last].trim().to_owned())),
    };
    Some(OutputEnd::Error(message.text.join(" ")))
}

/// An error message in the output.
struct Message {
    /// Index of its first line.
    from: usize,
    /// Index of the first line after it and its frames.
    end: usize,
    /// Its first lines, without blanks around them.
    text: Vec<String>,
}

fn message(lines: &[&str], from: usize, end: usize) -> Message {
    let text = lines[from..end.min(from + MAX_LINES)].iter().map(|line| line.trim());
    Message { from, end, text: text.filter(|line| !line.is_empty()).map(str::to_owned).collect() }
}

/// Returns the last exception of the last Python traceback.
fn python(lines: &[&str]) -> Option<Message> {
    let header = lines.iter().rposition(|line| line.trim() == PYTHON_TRACEBACK)?;
    // Frames are indented more than the header, and the exception is not.
    let indent = |line: &str| line.len() - line.trim_start().len();
    let base = indent(lines[header]);
    let is_frame = |line: &&str| line.trim().is_empty() || indent(line) > base;
    let from = header + 1 + lines[header + 1..].iter().take_while(|line| is_frame(line)).count();
    if from >= lines.len() {
        return None;
    }
    let rest = &lines[from..];
    let is_end = |line: &&str| line.trim().is_empty() || PYTHON_CHAIN.contains(&line.trim());
    let length = rest.iter().position(is_end).unwrap_or(rest.len());
    Some(message(lines, from, from + length.max(1)))
}

/// Returns the last panic of a Rust program: its location and message.
fn rust(lines: &[&str]) -> Option<Message> {
    let from = lines.iter().rposition(|line| line.contains(RUST_PANIC))?;
    let is_end = |line: &&str| RUST_TRAILERS.iter().any(|begin| line.trim().starts_with(begin));
    let length = lines[from..].iter().position(is_end);
    Some(message(lines, from, length.map_or(lines.len(), |length| from + length)))
}

/// Returns the last message before the frames of a stack trace, as Node.js and Java print them. The
/// last cause of a Java exception follows the message.
fn with_frames(lines: &[&str]) -> Option<Message> {
    let is_frame =
        |line: &str| line.trim_start().starts_with(FRAME) && line.starts_with([' ', '\t']);
    let is_trailer = |line: &str| starts_with_any(line, TRAILERS);
    let frame = (1..lines.len()).rev().find(|&at| {
        is_frame(lines[at])
            && !is_frame(lines[at - 1])
            && !is_trailer(lines[at - 1])
            && !lines[at - 1].trim_start().starts_with(JAVA_CAUSE)
    })?;
    // The message may have several lines. A blank line, or the frame of another one, is before it.
    let is_before = |line: &str| line.trim().is_empty() || is_frame(line);
    let from = lines[..frame].iter().rposition(|line| is_before(line)).map_or(0, |at| at + 1);
    // Without a blank line, earlier output precedes the message.
    let from = match frame - from {
        0 => return None,
        _ => (from..frame).find(|&at| has_error_word(lines[at])).unwrap_or(frame - 1),
    };
    let end = lines.iter().rposition(|line| is_frame(line)).map_or(frame, |at| at + 1);
    let Message { mut text, .. } = message(lines, from, frame);
    let cause = lines[frame..].iter().rev().find(|line| line.trim().starts_with(JAVA_CAUSE));
    text.extend(cause.map(|cause| cause.trim().to_owned()));
    Some(Message { from, end, text })
}

/// Returns the last line with an error word.
fn plain_error(lines: &[&str]) -> Option<Message> {
    let is_error = |line: &&str| !starts_with_any(line, TRAILERS) && has_error_word(line);
    let from = lines.iter().rposition(is_error)?;
    let has_message = lines.get(from + 1).is_some_and(|line| line.trim().starts_with(CPP_MESSAGE));
    Some(message(lines, from, from + 1 + usize::from(has_message)))
}

fn has_error_word(line: &str) -> bool {
    let line = line.to_lowercase();
    ERROR_WORDS.iter().any(|word| line.contains(word))
}

fn starts_with_any(line: &str, beginnings: &[&str]) -> bool {
    let line = line.trim_start().to_lowercase();
    beginnings.iter().any(|begin| line.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_message_of_each_language_is_found() {
        for (output, message) in [
            (
                "up\nTraceback (most recent call last):\n  File \"x.py\", line 3, in <module>\n    f()\n    ^^^\nValueError: bad\n",
                "ValueError: bad",
            ),
            (
                "Traceback (most recent call last):\n  File \"x.py\"\nValueError: first\nsecond line\n",
                "ValueError: first second line",
            ),
            (
                "Traceback (most recent call last):\n  File \"x.py\"\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x.py\"\nmain.Odd: two\n",
                "main.Odd: two",
            ),
            (
                "Traceback (most recent call last):\n  File \"x.py\"\nKeyboardInterrupt\nerror count: 3\n",
                "KeyboardInterrupt error count: 3",
            ),
            (
                "error: bad request\nTraceback (most recent call last):\n  File \"x.py\"\n    raise Stop\nStop\n",
                "Stop",
            ),
            (
                "thread 'main' panicked at src/main.rs:3:4:\nindex out of bounds\nnote: run with `RUST_BACKTRACE=1`",
                "thread 'main' panicked at src/main.rs:3:4: index out of bounds",
            ),
            (
                "thread 'w' (7) panicked at a.rs:1:1:\nassertion `left == right` failed\n  left: 1\n right: 2\nstack backtrace:\n   0: begin",
                "thread 'w' (7) panicked at a.rs:1:1: assertion `left == right` failed left: 1 right: 2",
            ),
            (
                "node:events:497\n      throw er; // Unhandled 'error' event\n      ^\n\nError: read ECONNRESET\n    at TCP.onStreamRead (node:internal:216:20)\nEmitted 'error' event on Socket instance at:\n    at emitErrorNT (node:internal:1)\n  errno: -104,\n  code: 'ECONNRESET'\n}\n\nNode.js v22.1.0",
                "Error: read ECONNRESET",
            ),
            (
                "/x.mjs:3\n  foo.bar()\n      ^\n\nTypeError: Cannot read properties of undefined\nmore\n    at x (/x.mjs:3:7)\n\nNode.js v22.1.0\n",
                "TypeError: Cannot read properties of undefined more",
            ),
            (
                "listening\nException in thread \"main\" java.io.IOException: no\n\tat A.main(A.java:3)",
                "Exception in thread \"main\" java.io.IOException: no",
            ),
            (
                "Exception in thread \"main\" java.lang.RuntimeException: outer\n\tat A.main(A.java:3)\nCaused by: java.io.IOException: Broken pipe\n\tat B.b(B.java:1)\n\t... 1 more\n",
                "Exception in thread \"main\" java.lang.RuntimeException: outer Caused by: java.io.IOException: Broken pipe",
            ),
            (
                "up\nCan't use string (\"x\") as a HASH ref at server.pl line 7, <$c> line 1.\n",
                "Can't use string (\"x\") as a HASH ref at server.pl line 7, <$c> line 1.",
            ),
            (
                "server: s.c:12: main: Assertion `n >= 0' failed.\n",
                "server: s.c:12: main: Assertion `n >= 0' failed.",
            ),
            (
                "free(): double free detected in tcache 2\n",
                "free(): double free detected in tcache 2",
            ),
            (
                "*** stack smashing detected ***: terminated\n",
                "*** stack smashing detected ***: terminated",
            ),
            (
                "terminate called after throwing an instance of 'std::out_of_range'\n  what():  stoi\n",
                "terminate called after throwing an instance of 'std::out_of_range' what():  stoi",
            ),
            ("panic: oh\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: oh"),
        ] {
            assert_eq!(output_end(output), Some(OutputEnd::Error(message.to_owned())), "{output}");
        }
    }

    #[test]
    fn other_output_is_not_called_an_error() {
        assert_eq!(output_end("up\nbye\n\n"), Some(OutputEnd::Line("bye".to_owned())));
        assert_eq!(output_end(" \n"), None);
        let cut = output_end("Traceback (most recent call last):\n  File \"x.py\"");
        assert!(matches!(cut, Some(OutputEnd::Line(_))), "{cut:?}");
    }
}
