//! Transformation of the replies of an echo server.

use std::fmt;
use std::str::FromStr;

/// A step of a [`Transform`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Trim,
    TrimEnd,
    Upper,
    Lower,
    Reverse,
    Rot13,
}

impl Step {
    const ALL: [Step; 6] =
        [Step::Trim, Step::TrimEnd, Step::Upper, Step::Lower, Step::Reverse, Step::Rot13];

    fn name(self) -> &'static str {
        match self {
            Step::Trim => "trim",
            Step::TrimEnd => "trim-end",
            Step::Upper => "upper",
            Step::Lower => "lower",
            Step::Reverse => "reverse",
            Step::Rot13 => "rot13",
        }
    }

    fn apply(self, text: &mut Vec<u8>) {
        match self {
            Step::Trim => *text = text.trim_ascii().to_vec(),
            Step::TrimEnd => *text = text.trim_ascii_end().to_vec(),
            Step::Upper => text.make_ascii_uppercase(),
            Step::Lower => text.make_ascii_lowercase(),
            Step::Reverse => text.reverse(),
            Step::Rot13 => text.iter_mut().for_each(|byte| *byte = rot13(*byte)),
        }
    }
}

fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'm' | b'A'..=b'M' => byte + 13,
        b'n'..=b'z' | b'N'..=b'Z' => byte - 13,
        _ => byte,
    }
}

/// What an echo server does to a request: the request without white space at both ends (`trim`) or
/// at its end (`trim-end`), in upper or lower case, reversed, or with each letter replaced
/// (`rot13`). Written as names of steps, separated by commas: `trim,upper`. `trim` and `trim-end`
/// are the first step; the order of the others makes no difference.
///
/// Defined for printable ASCII text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transform([bool; Step::ALL.len()]);

impl Transform {
    /// Returns all transformations with at least one step: those with few steps first.
    pub fn all() -> Vec<Transform> {
        let mut all: Vec<Transform> = (1..1 << Step::ALL.len())
            .map(|bits: usize| Transform(std::array::from_fn(|at| bits >> at & 1 == 1)))
            .filter(|it| !it.is_contradictory())
            .collect();
        all.sort_by_key(|it| it.steps().count());
        all
    }

    /// Returns the transformed text.
    pub fn apply(self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        self.steps().for_each(|step| step.apply(&mut text));
        text
    }

    /// Returns whether the text is reversed.
    pub fn reverses(self) -> bool {
        self.steps().any(|step| step == Step::Reverse)
    }

    fn steps(self) -> impl Iterator<Item = Step> {
        Step::ALL.into_iter().zip(self.0).filter_map(|(step, is_set)| is_set.then_some(step))
    }

    /// Returns whether a step contradicts another, or includes it.
    fn is_contradictory(self) -> bool {
        let has = |wanted| self.steps().any(|step| step == wanted);
        has(Step::Upper) && has(Step::Lower) || has(Step::Trim) && has(Step::TrimEnd)
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.steps().map(Step::name).collect();
        to.write_str(&names.join(","))
    }
}

impl FromStr for Transform {
    type Err = String;

    fn from_str(text: &str) -> Result<Transform, String> {
        let mut transform = Transform::default();
        for name in text.split(',') {
            let step = Step::ALL.iter().position(|step| step.name() == name.trim());
            let step = step.ok_or_else(|| {
                let names = Step::ALL.map(Step::name).join(", ");
                format!("expected one or more of {names}, separated by commas")
            })?;
            transform.0[step] = true;
        }
        match transform.is_contradictory() {
            true => Err("use only one of upper and lower, and of trim and trim-end".to_owned()),
            false => Ok(transform),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_transformed_by_each_step() {
        for (transform, text) in [
            ("upper", " ABC XYZ 12 "),
            ("lower", " abc xyz 12 "),
            ("reverse", " 21 zYx CbA "),
            ("trim", "AbC xYz 12"),
            ("trim-end", " AbC xYz 12"),
            ("rot13", " NoP kLm 12 "),
            ("trim,upper", "ABC XYZ 12"),
            ("lower,reverse", " 21 zyx cba "),
        ] {
            let parsed: Transform = transform.parse().expect(transform);
            assert_eq!(parsed.to_string(), transform);
            assert_eq!(parsed.apply(b" AbC xYz 12 "), text.as_bytes(), "{transform}");
        }
    }

    #[test]
    fn invalid_and_contradictory_steps_are_rejected() {
        for (invalid, reason) in
            [("round", "reverse"), ("", "reverse"), ("upper,lower", "only one")]
        {
            let error = invalid.parse::<Transform>().expect_err(invalid);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn all_transformations_are_different() {
        let all = Transform::all();
        let mut replies: Vec<_> = all.iter().map(|it| it.apply(b" AbC xYz 12 ")).collect();
        replies.sort();
        replies.dedup();
        assert_eq!(replies.len(), all.len());
        assert_eq!(all.len(), 35);
    }
}
