//! Replies, and the faults in them.

use std::fs::File;
use std::path::Path;
use std::thread;

use servers::Service;

use super::{DRAIN, MAX_LINE, Server};
use crate::broken::fault::{Fault, Shape};

impl Server {
    /// Appends the reply to one line.
    pub(super) fn answer(&self, line: &[u8], replied: &mut usize, replies: &mut Vec<u8>) {
        // A program that was tested with clients on Unix only.
        let keeps = self.has(Fault::KeepsTheCarriageReturn);
        let line = line.strip_suffix(b"\r").filter(|_| !keeps).unwrap_or(line);
        // The server does not count an empty line as a request.
        if line.is_empty() && self.has(Fault::IgnoresEmptyLines) {
            return;
        }
        *replied += 1;
        let mut reply = self.value(line);
        // A data race between threads, or a cache with too short a key.
        if replied.is_multiple_of(110) && self.has(Fault::SometimesWrong) {
            reply.push(b'0');
        }
        reply.push(b'\n');
        // The reply is sent where it is computed, and again where it is logged.
        let times = if self.has(Fault::AnswersTwice) { 2 } else { 1 };
        replies.extend(reply.repeat(times));
        if self.has(Fault::Prompts) {
            // The server was written for users of telnet.
            replies.extend(b"> ");
        }
    }

    fn value(&self, line: &[u8]) -> Vec<u8> {
        // `<` rather than `<=`.
        let max_length = MAX_LINE - usize::from(self.has(Fault::OffByOneAtTheLimit));
        if line.len() > max_length {
            return b"error: line too long".to_vec();
        }
        if self.shape == Shape::Echo {
            return match self.fault {
                // The line is trimmed to remove its line end.
                Fault::TrimsTheEcho => line.trim_ascii().to_vec(),
                // A C string.
                Fault::StopsAtNul => line.split(|&byte| byte == 0).next().unwrap_or(b"").to_vec(),
                // A buffer of a fixed size.
                Fault::CutsAt1024 => line[..line.len().min(1024)].to_vec(),
                _ => line.to_vec(),
            };
        }
        self.calculate(line)
    }

    fn calculate(&self, line: &[u8]) -> Vec<u8> {
        // Most requests are plain numbers, and a debug build is slow to evaluate them.
        let spaces = line.iter().rev().take_while(|&&byte| byte == b' ').count();
        let plain = &line[..line.len() - spaces];
        if matches!(plain, [b'1'..=b'9', rest @ ..] if rest.len() < 17 && rest.iter().all(u8::is_ascii_digit))
        {
            return plain.to_vec();
        }
        let mut reply = Vec::new();
        Service::Calc.answer(line, &mut reply);
        let is_error = reply.starts_with(b"error: ");
        let text = String::from_utf8_lossy(line);
        match self.fault {
            Fault::WrongSum if text.contains('+') => {
                let sum = String::from_utf8_lossy(&reply).parse::<i64>();
                sum.map_or(reply, |sum| (sum + 1).to_string().into_bytes())
            }
            // A loop over the operators is simpler than two stacks.
            Fault::CalculatesFromTheLeft => {
                let mut reply = Vec::new();
                Service::Calc.answer(from_the_left(&text).as_bytes(), &mut reply);
                reply
            }
            // The format "%g".
            Fault::PrintsSixDigits if reply.contains(&b'.') && !is_error => {
                let number: f64 = String::from_utf8_lossy(&reply).parse().expect("a float");
                let rounded: f64 = format!("{number:.5e}").parse().expect("a float");
                rounded.to_string().into_bytes()
            }
            Fault::Wraps if reply == b"error: overflow" => wrapped(&text).unwrap_or(reply),
            Fault::UsesAShell => {
                // `echo $(( … ))` is short, and runs any command.
                touch_a_canary(&text);
                reply
            }
            Fault::HangsAtDivisionByZero if reply == b"error: division by zero" => {
                // Division by repeated subtraction never ends.
                thread::sleep(DRAIN * 10);
                reply
            }
            // A quoted request helps to find a mistake, but control characters help an attacker.
            Fault::QuotesTheRequest if is_error => [b"error: what is ", line].concat(),
            Fault::ClosesAtAnError if is_error => std::panic::resume_unwind(Box::new(())),
            // A call of unwrap.
            Fault::CrashesOnInvalidUtf8 if std::str::from_utf8(line).is_err() => {
                eprintln!("{:?}", std::str::from_utf8(line));
                std::process::abort()
            }
            Fault::CrashesOnNesting => {
                // A recursive parser without a depth limit.
                let deepest = depth(line);
                if deepest > MAX_LINE { Vec::new() } else { reply }
            }
            _ => reply,
        }
    }
}

/// Removes the last line.
pub(super) fn lose_the_last(replies: &mut Vec<u8>) {
    let mut ends = replies.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').skip(1);
    if let Some((end, _)) = ends.next() {
        replies.truncate(end + 1);
    }
}

/// Adds parentheses so that each operator applies to the result of everything before it.
fn from_the_left(text: &str) -> String {
    let mut groups = vec![String::new()];
    for letter in text.chars() {
        match letter {
            '(' => groups.push(String::new()),
            ')' if groups.len() > 1 => {
                let group = groups.pop().unwrap_or_default();
                groups.last_mut().expect("an outer group").push_str(&format!("({group})"));
            }
            _ => {
                let group = groups.last_mut().expect("at least one group");
                let after_a_value = |letter: char| letter.is_ascii_digit() || letter == ')';
                if "+-*/%".contains(letter) && group.trim_end().ends_with(after_a_value) {
                    *group = format!("({group})");
                }
                group.push(letter);
            }
        }
    }
    groups.join("(")
}

/// Computes one operation on two integers with 64-bit wraparound.
fn wrapped(text: &str) -> Option<Vec<u8>> {
    let number = |text: &str| text.parse::<i128>().ok();
    let value = match text.rfind(['+', '-', '*']).filter(|&at| at > 0) {
        None => number(text)?,
        Some(at) => {
            let (left, right) = (number(&text[..at])?, number(&text[at + 1..])?);
            match text.as_bytes()[at] {
                b'+' => left.checked_add(right)?,
                b'-' => left.checked_sub(right)?,
                _ => left.checked_mul(right)?,
            }
        }
    };
    Some((value as i64).to_string().into_bytes())
}

/// Creates the file that a shell would create, if it is the canary file of a test case.
fn touch_a_canary(text: &str) {
    let words = text.split(|letter: char| " ()`;'\"".contains(letter));
    let Some(path) = words.skip_while(|word| *word != "touch").nth(1).map(Path::new) else {
        return;
    };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.parent() == Some(Path::new("/tmp")) && name.starts_with("harness-canary-") {
        let _ = File::create(path);
    }
}

/// Returns the nesting depth. Each level uses 4 KiB of stack, so deep nesting overflows it.
fn depth(text: &[u8]) -> usize {
    let frame = std::hint::black_box([0_u8; 4096]);
    match text.split_first() {
        Some((b'(', rest)) => 1 + depth(rest),
        Some((_, rest)) if rest.contains(&b'(') => depth(rest),
        _ => usize::from(frame[text.len().min(4095)]),
    }
}
