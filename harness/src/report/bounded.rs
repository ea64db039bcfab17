//! Lists of a Markdown page with a maximum size. What does not fit is counted.

use std::fmt::Write;

/// Space for the text that counts the omitted items, in bytes.
const REST: usize = 100;

/// Joins items, up to `max_size` bytes. If not all fit, `rest` formats the number of the others, in
/// at most 100 bytes.
///
/// Returns an empty string if there is no item, or no space for `rest`.
pub(super) fn list(items: &[String], max_size: usize, rest: impl Fn(usize) -> String) -> String {
    if items.iter().map(String::len).sum::<usize>() <= max_size {
        return items.concat();
    }
    let Some(space) = max_size.checked_sub(REST) else { return String::new() };
    let mut size = 0;
    let fits = |item: &&String| {
        size += item.len();
        size <= space
    };
    let shown: Vec<&String> = items.iter().take_while(fits).collect();
    let mut text: String = shown.iter().map(|item| item.as_str()).collect();
    text.push_str(&rest(items.len() - shown.len()));
    text
}

/// Writes a list, if it has rows.
pub(super) fn section(
    heading: &str,
    rows: &[String],
    max_size: usize,
    noun: &str,
    page: &mut String,
) -> std::fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let rest = |count| format!("- … and {count} more {noun}: see `index.html`\n");
    writeln!(page, "{heading}{}", list(rows, max_size, rest))
}

/// Writes a list that is collapsed at first, if it has rows. `head` is the head of a table.
pub(super) fn details(
    title: &str,
    head: &str,
    rows: &[String],
    max_size: usize,
    noun: &str,
    page: &mut String,
) -> std::fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let rest = |count| format!("\n… and {count} more {noun}: see `index.html`\n");
    let list = list(rows, max_size, rest);
    writeln!(page, "<details><summary>{title}</summary>\n\n{head}{list}\n</details>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_do_not_fit_are_counted() {
        let items = vec!["12345\n".to_owned(); 50];
        let rest = |count| format!("{count} more\n");
        assert_eq!(list(&items, 300, rest), items.concat());
        assert_eq!(list(&items, 299, rest), items[..33].concat() + "17 more\n");
        assert_eq!(list(&items, 100, rest), "50 more\n");
        assert_eq!(list(&items, 99, rest), "");
        assert_eq!(list(&[], 0, rest), "");
    }
}
