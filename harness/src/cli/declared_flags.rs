//! Flags that declare the properties of a server of the user's own.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use crate::contract::{Declared, PROPERTIES, Property};

/// The flags that declare properties of an external server, one for each of [`PROPERTIES`].
#[derive(Clone, Debug, Default)]
pub struct DeclaredFlags(pub Declared);

impl DeclaredFlags {
    fn flag(property: &'static Property) -> Arg {
        let owner = if property.is_of_command { "cmd" } else { "own" };
        let flag = Arg::new(property.name)
            .long(property.name)
            .help(property.help)
            .requires(owner)
            .help_heading(
                "Properties that a server of your own declares (cases about others do not apply)",
            );
        let Some(value) = property.value else { return flag.action(ArgAction::SetTrue) };
        let read =
            |text: &str| (property.read)(&mut Declared::default(), text).map(|()| text.to_owned());
        flag.value_name(value).value_parser(read)
    }
}

impl FromArgMatches for DeclaredFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<DeclaredFlags, clap::Error> {
        let mut flags = DeclaredFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for property in PROPERTIES {
            let text = match property.value {
                Some(_) => matches.get_one::<String>(property.name).map(String::as_str),
                None => matches.get_flag(property.name).then_some(""),
            };
            if let Some(text) = text {
                (property.read)(&mut self.0, text)
                    .map_err(|words| clap::Error::raw(ErrorKind::InvalidValue, words))?;
            }
        }
        Ok(())
    }
}

impl Args for DeclaredFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(PROPERTIES.iter().map(DeclaredFlags::flag))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        DeclaredFlags::augment_args(command)
    }
}
