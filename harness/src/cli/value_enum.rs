//! Command-line values for types of modules that do not depend on clap.

use std::ffi::OsStr;

use clap::ValueEnum;
use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;

use crate::load::Arrivals;
use crate::load::placement::Pin;
use crate::renamed;
use crate::report::{Evidence, FailOn};
use crate::text::style::ColorChoice;

/// Implements [`ValueEnum`], with help texts, for a type of a module that does not depend on clap.
macro_rules! value_enum {
    ($type:ident { $($variant:ident => $help:literal,)+ }) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [$type] {
                $type::ALL
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                let help = match self {
                    $($type::$variant => $help,)+
                };
                Some(PossibleValue::new(self.name()).help(help))
            }
        }
    };
}

value_enum!(Arrivals {
    Constant => "Equal interarrival times",
    Poisson => "Exponentially distributed interarrival times (many independent clients)",
});

value_enum!(Pin {
    Apart => "Pin the generator threads to the last CPUs, one thread per CPU, and (in `harness bench`) the server to all other CPUs",
    Together => "Pin the generator and (in `harness bench`) the server to the first CPU",
    None => "Do not pin: leave the choice to the kernel",
});

value_enum!(ColorChoice {
    Auto => "On a terminal, unless the environment variable NO_COLOR is set",
    Always => "Also in files and pipes",
    Never => "Never",
});

value_enum!(FailOn {
    Fail => "A case or a measurement failed, or a known failure now passes",
    Inconclusive => "A case is inconclusive",
    Warn => "A case passes only under a relaxed form of its requirement",
    NotApplicable => "A case does not apply to the properties that the server declares",
    None => "No result",
});

value_enum!(Evidence {
    Failures => "Only the evidence of results that need attention",
    All => "Also the evidence of passed cases, in the files evidence/SERVER/CASE.json",
});

/// Parses a value by its name. The error for a renamed value gives the new name.
#[derive(Clone)]
pub(super) struct Named<T: ValueEnum + Clone + Send + Sync + 'static>(EnumValueParser<T>);

impl<T: ValueEnum + Clone + Send + Sync + 'static> Named<T> {
    pub(super) fn new() -> Named<T> {
        Named(EnumValueParser::new())
    }
}

impl<T: ValueEnum + Clone + Send + Sync + 'static> TypedValueParser for Named<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        flag: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let is_valid = |new: &str| T::from_str(new, false).is_ok();
        let Some(hint) = value.to_str().and_then(|old| renamed::hint(old, is_valid)) else {
            return self.0.parse_ref(command, flag, value);
        };
        let flag = flag.map(|flag| format!(" for '{flag}'")).unwrap_or_default();
        let text = format!("invalid value{flag}: {hint}\n");
        Err(clap::Error::raw(ErrorKind::InvalidValue, text).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}
