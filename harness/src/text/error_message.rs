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

/// Texts and names of the errors of system calls (errno), in lower case. A line with one of them
/// may report an error that the program has handled.
const ERRNO_TEXTS: &[&str] = &[
    "too many open files",
    "emfile",
    "no file descriptors available",
    "bad file descriptor",
    "broken pipe",
    "epipe",
    "connection reset",
    "econnreset",
    "connection refused",
    "connection timed out",
    "connection aborted",
    "address already in use",
    "eaddrinuse",
    "not connected",
    "temporarily unavailable",
    "interrupted system call",
    "invalid argument",
    "out of memory",
    "no buffer space",
    "bad address",
    "permission denied",
    "operation not permitted",
    "not a socket",
    "no space left",
    "no child processes",
];

/// Texts of the errors of a program that has no free descriptor (EMFILE), in lower case.
pub const NO_FREE_DESCRIPTOR: &[&str] =
    &["too many open files", "emfile", "no file descriptors available", "out of file descriptors"];

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

/// Beginning of the report of an exception that ends a thread, in Java and Python.
const THREAD_EXCEPTION: &str = "Exception in thread ";

/// Name of the first thread of a Java program, as in its reports.
const JAVA_MAIN_THREAD: &str = "\"main\"";

/// Beginning of the report of an exception that Python's `socketserver` handles.
const REQUEST_EXCEPTION: &str = "Exception occurred during processing of request";

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

/// Returns the message that most likely explains why a program exited. Same as [`output_end`], but
/// prefers, in this order:
/// - the last message that has one of the texts of `reason`, the known reason of the exit, in lower
///   case;
/// - the last error message, except those of exceptions that end only a thread or a request;
/// - the last line with the text of an errno.
pub fn exit_message(output: &str, reason: &[&str]) -> Option<OutputEnd> {
    let names_any = |text: &str, texts: &[&str]| {
        let text = text.to_lowercase();
        texts.iter().any(|it| text.contains(it))
    };
    let last_with = |texts: &[&str]| {
        let line = output.lines().rfind(|line| names_any(line, texts))?;
        Some(OutputEnd::Error(line.trim().to_owned()))
    };
    let whole = output_end(output)?;
    if names_any(whole.text(), reason) {
        return Some(whole);
    }
    if let Some(message) = last_with(reason) {
        return Some(message);
    }
    match output_end(&without_thread_exceptions(output)) {
        Some(error @ OutputEnd::Error(_)) => Some(error),
        _ => match &whole {
            OutputEnd::Error(_) => Some(whole),
            OutputEnd::Line(_) => last_with(ERRNO_TEXTS).or(Some(whole)),
        },
    }
}

/// Removes the reports of exceptions that end only a thread or a request.
fn without_thread_exceptions(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let is_report = |line: &str| {
        let thread = line.strip_prefix(THREAD_EXCEPTION);
        thread.is_some_and(|thread| !thread.starts_with(JAVA_MAIN_THREAD))
            || line.starts_with(REQUEST_EXCEPTION)
    };
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some(line) = lines.get(at) {
        if !is_report(line) {
            kept.push(*line);
            at += 1;
            continue;
        }
        at += 1;
        let is_python = lines.get(at).is_some_and(|line| line.trim() == PYTHON_TRACEBACK);
        let is_part = |line: &&&str| {
            let is_chain = PYTHON_CHAIN.contains(*line) || line.trim() == PYTHON_TRACEBACK;
            line.trim().is_empty()
                || line.starts_with([' ', '\t'])
                || line.starts_with(JAVA_CAUSE)
                || is_python && is_chain
        };
        at += lines[at..].iter().take_while(is_part).count();
        // The exception, and the causes that led to it.
        while is_python && at < lines.len() {
            at += 1;
            let more = lines[at..].iter().take_while(is_part);
            let length = more.clone().count();
            if !more.clone().any(|line| PYTHON_CHAIN.contains(line)) {
                break;
            }
            at += length;
        }
    }
    kept.join("\n")
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

    /// The texts that two threads or processes of a server write before and after its exit.
    #[test]
    fn the_reason_of_an_exit_is_found_among_other_errors() {
        let java = "An error occurred while running the server.\nException in thread \"Thread-1\" java.lang.NullPointerException: no\n\tat A.run(A.java:19)\nException in thread \"Thread-2\" java.lang.NullPointerException: no\n\tat A.run(A.java:19)";
        let perl = "accept:Too many open files at server.pl line 24.\nCan't locate object method \"autoflush\" at server.pl line 27.\n41001\n";
        let fork = "accept: Too many open files\n[*] Server shut down.\n[child 1] Disconnected";
        let python = "accept failed: no\nException in thread Thread-7 (serve):\nTraceback (most recent call last):\n  File \"x.py\"\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x.py\"\nValueError: 1\nbye";
        for (output, reason, message) in [
            (java, &[][..], "An error occurred while running the server."),
            (java, NO_FREE_DESCRIPTOR, "An error occurred while running the server."),
            (perl, NO_FREE_DESCRIPTOR, "accept:Too many open files at server.pl line 24."),
            (perl, &[], "Can't locate object method \"autoflush\" at server.pl line 27."),
            (fork, NO_FREE_DESCRIPTOR, "accept: Too many open files"),
            (fork, &[], "accept: Too many open files"),
            (python, &[], "accept failed: no"),
            (
                "Exception in thread \"acceptor\" java.lang.Error: no\n\tat A.main(A.java:3)",
                &[],
                "Exception in thread \"acceptor\" java.lang.Error: no",
            ),
            (
                "Traceback (most recent call last):\n  File \"x.py\"\nOSError: [Errno 24] Too many open files\nat exit",
                NO_FREE_DESCRIPTOR,
                "OSError: [Errno 24] Too many open files at exit",
            ),
        ] {
            let error = OutputEnd::Error(message.to_owned());
            assert_eq!(exit_message(output, reason), Some(error), "{output}");
        }
        assert_eq!(exit_message("up\nbye", &[]), Some(OutputEnd::Line("bye".to_owned())));
        assert_eq!(exit_message("", NO_FREE_DESCRIPTOR), None);
    }

    #[test]
    fn other_output_is_not_called_an_error() {
        assert_eq!(output_end("up\nbye\n\n"), Some(OutputEnd::Line("bye".to_owned())));
        assert_eq!(output_end(" \n"), None);
        let cut = output_end("Traceback (most recent call last):\n  File \"x.py\"");
        assert!(matches!(cut, Some(OutputEnd::Line(_))), "{cut:?}");
    }
}
