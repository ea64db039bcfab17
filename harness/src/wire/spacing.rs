//! Spaces between the parts of an expression.

/// Returns the expression with a space around each operator and parenthesis if `spaced`, otherwise
/// without spaces. A sign stays with its number. Returns text that is not an expression unchanged.
pub fn respaced(expression: &[u8], spaced: bool) -> Vec<u8> {
    let is_allowed = |byte: &u8| byte.is_ascii_digit() || b"+-*/%().e \t".contains(byte);
    if !expression.iter().all(is_allowed) || has_adjacent_numbers(expression) {
        return expression.to_vec();
    }
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    let mut continues_number = false;
    for &byte in expression {
        let is_number = byte.is_ascii_digit() || byte == b'.' || byte == b'e';
        match byte {
            b' ' | b'\t' => {
                continues_number = false;
                continue;
            }
            _ if is_number && continues_number => {
                tokens.last_mut().expect("a token to continue").push(byte)
            }
            b'-' | b'+' if !ends_operand(tokens.last()) => {
                tokens.push(vec![byte]);
                continues_number = true;
                continue;
            }
            _ => tokens.push(vec![byte]),
        }
        continues_number = is_number;
    }
    tokens.join(&b" "[..usize::from(spaced)])
}

/// Returns whether only spaces separate two numbers. Without the spaces, they would be one number.
fn has_adjacent_numbers(expression: &[u8]) -> bool {
    let words = expression.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
    let words: Vec<&[u8]> = words.collect();
    let is_digit = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
    words.windows(2).any(|pair| is_digit(pair[0].last()) && is_digit(pair[1].first()))
}

/// Returns whether the token ends an operand, so that a following `+` or `-` is an operator and not
/// a sign.
fn ends_operand(token: Option<&Vec<u8>>) -> bool {
    token.and_then(|token| token.last()).is_some_and(|&last| last.is_ascii_digit() || last == b')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_spaced_or_compacted_and_signs_stay_with_their_numbers() {
        for (expression, spaced, compact) in [
            ("1+2", "1 + 2", "1+2"),
            ("1 + 2", "1 + 2", "1+2"),
            ("-1.5*(2 - -3)", "-1.5 * ( 2 - -3 )", "-1.5*(2--3)"),
            ("41001", "41001", "41001"),
            ("abc + 1", "abc + 1", "abc + 1"),
            ("1 2", "1 2", "1 2"),
        ] {
            assert_eq!(respaced(expression.as_bytes(), true), spaced.as_bytes());
            assert_eq!(respaced(expression.as_bytes(), false), compact.as_bytes());
        }
    }
}
