//! Flags that declare the properties of an external server.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use crate::contract::{Declared, PROPERTIES, Property};

/// The flags that declare properties of an external server: one for each row of [`PROPERTIES`].
#[derive(Clone, Debug, Default)]
pub struct DeclaredFlags(pub Declared);

impl DeclaredFlags {
    fn flag(property: &'static Property) -> Arg {
        let required = if property.requires_cmd { "cmd" } else { "external_server" };
        let flag = Arg::new(property.name)
            .long(property.name)
            .help(property.help)
            .requires(required)
            .help_heading(
                "Properties of an external server. A declared property is tested; an undeclared property is only detected, where possible",
            );
        let Some(placeholder) = property.placeholder else {
            return flag.action(ArgAction::SetTrue);
        };
        let validate =
            |text: &str| (property.parse)(&mut Declared::default(), text).map(|()| text.to_owned());
        flag.value_name(placeholder).value_parser(validate)
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
            let text = match property.placeholder {
                Some(_) => matches.get_one::<String>(property.name).map(String::as_str),
                None => matches.get_flag(property.name).then_some(""),
            };
            if let Some(text) = text {
                (property.parse)(&mut self.0, text)
                    .map_err(|message| clap::Error::raw(ErrorKind::InvalidValue, message))?;
            }
        }
        self.0.check().map_err(|message| {
            clap::Error::raw(ErrorKind::MissingRequiredArgument, format!("{message}\n"))
        })
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
