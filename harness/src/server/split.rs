//! Splits a command line into words. No shell runs it, so shell syntax is rejected with a message
//! that says what to write instead.

use super::launch_spec_error::LaunchSpecError;

/// Quoting of a character in a command line.
#[derive(Clone, Copy, PartialEq)]
enum Quoted {
    No,
    /// In double quotes, where a shell still expands variables.
    Double,
    /// In single quotes, or after a backslash.
    Single,
}

/// Splits a command line into words like a shell, with quotes and backslashes.
///
/// # Errors
/// A quote is not closed, or the line uses shell syntax.
pub fn split(command: &str) -> Result<Vec<String>, LaunchSpecError> {
    let words = shlex::split(command).ok_or_else(|| LaunchSpecError::Words(command.to_owned()))?;
    match needs_shell(command) {
        Some(why) => Err(LaunchSpecError::Shell(why)),
        None => Ok(words),
    }
}

/// Returns a message about the first shell syntax in the command line, if any.
fn needs_shell(command: &str) -> Option<String> {
    let words = quoted_words(command);
    let in_a_shell = || {
        let quoted = shlex::try_quote(command).map_or(command.to_owned(), Into::into);
        format!("write sh -c {quoted}, with `exec` before the server so that signals reach it")
    };
    let first = words.first()?;
    if unquoted(first) == "cd" {
        return Some(format!(
            "`cd` is a command of the shell: {}; or name the server's `folder` in a manifest",
            in_a_shell()
        ));
    }
    if let Some(name) = assigned(&unquoted(first)) {
        return Some(format!(
            "`{name}=…` before a command sets a variable only in a shell: write env {command}; or \
             set it in `environment` of a manifest"
        ));
    }
    words.iter().find_map(|word| {
        let text = unquoted(word);
        if let Some(operator) = operator(&text) {
            return Some(format!("`{operator}` is an operator of the shell: {}", in_a_shell()));
        }
        if text == "~" || text.starts_with("~/") {
            return Some(format!("`{text}` is expanded only by a shell: write the whole path"));
        }
        variable(word).map(|variable| {
            format!(
                "`{variable}` is expanded only by a shell: write its value, or {}",
                in_a_shell()
            )
        })
    })
}

/// Returns the words of a command line without the quotes, and the quoting of each character.
fn quoted_words(command: &str) -> Vec<Vec<(char, Quoted)>> {
    let mut words = Vec::new();
    let mut word = None::<Vec<(char, Quoted)>>;
    let mut quote = Quoted::No;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        let escaped = match (quote, letter) {
            (Quoted::No, ' ' | '\t' | '\n') => {
                words.extend(word.take());
                continue;
            }
            (Quoted::No, '\'') => {
                quote = Quoted::Single;
                word.get_or_insert_default();
                continue;
            }
            (Quoted::No, '"') => {
                quote = Quoted::Double;
                word.get_or_insert_default();
                continue;
            }
            (Quoted::Single, '\'') | (Quoted::Double, '"') => {
                quote = Quoted::No;
                continue;
            }
            (Quoted::No | Quoted::Double, '\\') => letters.next(),
            _ => None,
        };
        let one = escaped.map_or((letter, quote), |letter| (letter, Quoted::Single));
        word.get_or_insert_default().push(one);
    }
    words.extend(word);
    words
}

/// Returns a word with a space for each quoted character.
fn unquoted(word: &[(char, Quoted)]) -> String {
    word.iter().map(|&(letter, how)| if how == Quoted::No { letter } else { ' ' }).collect()
}

/// Returns the name of the variable if the word is an assignment.
fn assigned(word: &str) -> Option<&str> {
    let (name, _) = word.split_once('=')?;
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    is_name.then_some(name)
}

/// Returns the shell operator that the word is, begins with or ends with.
fn operator(word: &str) -> Option<&str> {
    const WHOLE: &[&str] = &["&&", "||", "|", ";", "&"];
    const BEGINNING: &[&str] = &[">", "<", "1>", "2>", "&>"];
    if let Some(end) = [";", "&&"].iter().find(|end| word.ends_with(**end)) {
        return Some(end);
    }
    let is_one = WHOLE.contains(&word) || BEGINNING.iter().any(|begin| word.starts_with(begin));
    is_one.then_some(word)
}

/// Returns the variable or command substitution that a shell would expand at the start of a word or
/// of a part of it. Elsewhere a dollar sign is a plain character, as in the class `Main$Server`.
fn variable(word: &[(char, Quoted)]) -> Option<String> {
    let at = (0..word.len()).find(|&at| {
        let (letter, how) = word[at];
        let next = word.get(at + 1).map(|&(letter, _)| letter);
        let begins = at == 0 || "/=:,".contains(word[at - 1].0);
        let expands = match letter {
            '$' => next.is_some_and(|it| it.is_ascii_alphabetic() || "_{(".contains(it)),
            '`' => true,
            _ => false,
        };
        how != Quoted::Single && begins && expands
    })?;
    let end = |letter: &char| !letter.is_ascii_alphanumeric() && !"$_{(".contains(*letter);
    let rest = word[at..].iter().map(|&(letter, _)| letter);
    Some(rest.take_while(|letter| *letter == '`' || !end(letter)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_shell_understands_is_rejected_with_what_to_write_instead() {
        for (command, found, remedy) in [
            ("cd app && ./server {port}", "`cd`", "sh -c 'cd app && ./server {port}'"),
            ("PORT={port} ./server", "`PORT=…`", "env PORT={port} ./server"),
            ("./build && ./server {port}", "`&&`", "exec"),
            ("./build; ./server {port}", "`;`", "sh -c"),
            ("./server {port} | tee log", "`|`", "sh -c"),
            ("./server {port} > log", "`>`", "sh -c"),
            ("./server {port} 2>&1", "`2>&1`", "sh -c"),
            ("./server {port} &", "`&`", "sh -c"),
            ("python3 ~/server.py {port}", "`~/server.py`", "the whole path"),
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
    fn quoted_shell_syntax_and_what_merely_looks_like_it_are_words() {
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
