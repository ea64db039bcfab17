//! Splits a command line into words. No shell runs the command, so shell syntax is an error, whose
//! message suggests a replacement.

use super::launch_spec_error::LaunchSpecError;

/// Quoting of a character in a command line.
#[derive(Clone, Copy, PartialEq)]
enum Quoting {
    No,
    /// In double quotes, in which a shell expands variables.
    Double,
    /// In single quotes, or after a backslash: a shell expands nothing.
    Literal,
}

/// Splits a command line into words like a shell, with quotes and backslashes.
///
/// # Errors
/// A quote is not closed, or the line uses shell syntax.
pub fn split(command: &str) -> Result<Vec<String>, LaunchSpecError> {
    let words = shlex::split(command).ok_or_else(|| LaunchSpecError::Words(command.to_owned()))?;
    match shell_syntax(command) {
        Some(message) => Err(LaunchSpecError::Shell(message)),
        None => Ok(words),
    }
}

/// Returns a message about the first shell syntax in the command line, if any.
fn shell_syntax(command: &str) -> Option<String> {
    let words = quoted_words(command);
    let shell_command = || {
        let quoted = shlex::try_quote(command).map_or(command.to_owned(), Into::into);
        format!(
            "write sh -c {quoted}, with `exec` before the server so that the server gets the \
             signals"
        )
    };
    let first = words.first()?;
    if unquoted(first) == "cd" {
        return Some(format!(
            "`cd` is a shell command; {}, or set `folder` in a manifest",
            shell_command()
        ));
    }
    if let Some(name) = assigned_variable(&unquoted(first)) {
        return Some(format!(
            "`{name}=…` before a command is shell syntax; write env {command}, or set the variable \
             in `environment` of a manifest"
        ));
    }
    words.iter().find_map(|word| {
        let text = unquoted(word);
        if let Some(operator) = operator(&text) {
            return Some(format!("`{operator}` is a shell operator; {}", shell_command()));
        }
        if text == "~" || text.starts_with("~/") {
            return Some(format!("only a shell expands `{text}`; write the full path"));
        }
        variable(word).map(|variable| {
            format!("only a shell expands `{variable}`; write its value, or {}", shell_command())
        })
    })
}

/// Returns the characters of each word of a command line, without quotes, and the quoting of each
/// character.
fn quoted_words(command: &str) -> Vec<Vec<(char, Quoting)>> {
    let mut words = Vec::new();
    let mut word = None::<Vec<(char, Quoting)>>;
    let mut quote = Quoting::No;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        let escaped = match (quote, letter) {
            (Quoting::No, ' ' | '\t' | '\n') => {
                words.extend(word.take());
                continue;
            }
            (Quoting::No, '\'') => {
                quote = Quoting::Literal;
                word.get_or_insert_default();
                continue;
            }
            (Quoting::No, '"') => {
                quote = Quoting::Double;
                word.get_or_insert_default();
                continue;
            }
            (Quoting::Literal, '\'') | (Quoting::Double, '"') => {
                quote = Quoting::No;
                continue;
            }
            (Quoting::No | Quoting::Double, '\\') => letters.next(),
            _ => None,
        };
        let quoted = escaped.map_or((letter, quote), |letter| (letter, Quoting::Literal));
        word.get_or_insert_default().push(quoted);
    }
    words.extend(word);
    words
}

/// Returns the word with a space in place of each quoted character.
fn unquoted(word: &[(char, Quoting)]) -> String {
    word.iter()
        .map(|&(letter, quoting)| if quoting == Quoting::No { letter } else { ' ' })
        .collect()
}

/// Returns the name of the variable if the word is an assignment.
fn assigned_variable(word: &str) -> Option<&str> {
    let (name, _) = word.split_once('=')?;
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    is_name.then_some(name)
}

/// Returns the word if it is a shell operator or begins with a redirection. Returns the operator if
/// the word ends with one.
fn operator(word: &str) -> Option<&str> {
    const OPERATORS: &[&str] = &["&&", "||", "|", ";", "&"];
    const REDIRECTIONS: &[&str] = &[">", "<", "1>", "2>", "&>"];
    if let Some(end) = [";", "&&"].iter().find(|end| word.ends_with(**end)) {
        return Some(end);
    }
    let is_operator = OPERATORS.contains(&word)
        || REDIRECTIONS.iter().any(|redirection| word.starts_with(redirection));
    is_operator.then_some(word)
}

/// Returns the first variable or command substitution that a shell would expand, at the start of
/// the word or after one of `/=:,`. A dollar sign in other places counts as a plain character, as
/// in the Java class `Main$Server`.
fn variable(word: &[(char, Quoting)]) -> Option<String> {
    let at = (0..word.len()).find(|&at| {
        let (letter, quoting) = word[at];
        let next = word.get(at + 1).map(|&(letter, _)| letter);
        let is_start = at == 0 || "/=:,".contains(word[at - 1].0);
        let expands = match letter {
            '$' => next.is_some_and(|next| next.is_ascii_alphabetic() || "_{(".contains(next)),
            '`' => true,
            _ => false,
        };
        quoting != Quoting::Literal && is_start && expands
    })?;
    let end = |letter: &char| !letter.is_ascii_alphanumeric() && !"$_{(".contains(*letter);
    let rest = word[at..].iter().map(|&(letter, _)| letter);
    Some(rest.take_while(|letter| *letter == '`' || !end(letter)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_syntax_is_rejected_with_a_suggested_replacement() {
        for (command, found, remedy) in [
            ("cd app && ./server {port}", "`cd`", "sh -c 'cd app && ./server {port}'"),
            ("PORT={port} ./server", "`PORT=…`", "env PORT={port} ./server"),
            ("./build && ./server {port}", "`&&`", "exec"),
            ("./build; ./server {port}", "`;`", "sh -c"),
            ("./server {port} | tee log", "`|`", "sh -c"),
            ("./server {port} > log", "`>`", "sh -c"),
            ("./server {port} 2>&1", "`2>&1`", "sh -c"),
            ("./server {port} &", "`&`", "sh -c"),
            ("python3 ~/server.py {port}", "`~/server.py`", "the full path"),
            ("python3 $HOME/server.py {port}", "`$HOME`", "its value"),
            ("python3 \"${HOME}/server.py\" {port}", "`${HOME`", "its value"),
            ("./server $(hostname) {port}", "`$(hostname`", "sh -c"),
        ] {
            let error = split(command).expect_err(command).to_string();
            assert!(error.contains(found) && error.contains(remedy), "{command}: {error}");
            assert!(error.contains("no shell"), "{error}");
        }
    }

    #[test]
    fn quoted_shell_syntax_and_lookalikes_are_plain_words() {
        for (command, words) in [
            ("sh -c 'cd app && exec ./server {port}'", 3),
            ("./server '&&' \\| \"a;b\" {port}", 5),
            ("env PORT={port} ./server", 3),
            ("./server --port={port} --name=a&b x;y", 4),
            ("java 'Main$Server' Main$Server {port}", 4),
            ("./server '$HOME' a~b {port}", 4),
            ("./server '' {port}", 3),
        ] {
            let split = split(command).unwrap_or_else(|error| panic!("{command}: {error}"));
            assert_eq!(split.len(), words, "{command}");
            let quoted = quoted_words(command);
            let texts = quoted.iter().map(|word| word.iter().map(|&(letter, _)| letter).collect());
            assert_eq!(texts.collect::<Vec<String>>(), split, "{command}");
        }
    }
}
