//! Command lines in the documentation.

use super::*;

/// Returns the command lines of the harness in the code blocks of a document. Shell operators end a
/// command line.
fn commands(document: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for block in document.split("```").skip(1).step_by(2) {
        for line in block.replace("\\\n", " ").lines() {
            let words = shlex::split(line).unwrap_or_default();
            let end_of_command = ["|", "||", "&", "&&", ";", ">", ">>"];
            for command in words.split(|word| end_of_command.contains(&word.as_str())) {
                let is_harness = |word: &String| word == "harness" || word.ends_with("/harness");
                // Only a prompt, `- run:` or `reproduce:` may precede the program name.
                let is_prefix = |word: &String| word == "$" || word == "-" || word.ends_with(':');
                let Some(start) = command.iter().position(is_harness) else { continue };
                if command[..start].iter().all(|word| is_prefix(word) || word == "reproduce") {
                    commands.push(command[start..].to_vec());
                }
            }
        }
    }
    commands
}

pub(super) fn command_lines_in_the_documentation_parse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (document, min_commands) in [("README.md", 5), ("docs/ci.md", 5), ("docs/compare.md", 6)] {
        let text = fs::read_to_string(root.join(document)).expect("a readable file");
        let commands = commands(&text);
        assert!(commands.len() >= min_commands, "{document}: {commands:?}");
        for command in commands {
            if let Err(error) = Cli::try_parse_from(&command) {
                panic!("{document}: {}: {error}", command.join(" "));
            }
        }
    }
}
