//! Colours and dashes of the servers: a colour for each family, a dash pattern within a family.

use servers::Family;

use crate::report::key_figures::{Column, KeyFigures};
use crate::results::Report;

/// The appearance of all servers of a report.
#[derive(Clone, Debug)]
pub struct Styles {
    styles: Vec<Style>,
}

/// The appearance of one server in all charts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    /// Name of the server.
    pub name: String,
    /// Name of its family; `external` for an external server.
    pub family: String,
    /// Number of the colour, from 0.
    pub colour: usize,
    /// Number of the dash pattern, from 0.
    pub dash: usize,
    /// Whether the charts show the server at first.
    pub is_default: bool,
}

/// Family of the external servers.
const EXTERNAL: &str = "external";

/// Number of dash patterns.
const DASHES: usize = 6;

/// Maximum number of servers that are shown at first.
const MAX_DEFAULT: usize = 8;

impl Styles {
    /// Chooses the appearance of the servers of a report. At first the charts show the server with
    /// the highest throughput of each family, or all servers if they are few.
    pub fn of(report: &Report) -> Styles {
        let figures = KeyFigures::of(report);
        let column = Column::named("throughput");
        let throughput = |name: &str| {
            let row = figures.rows.iter().find(|row| row.server.name == name)?;
            row.figure(column).map(|figure| figure.value)
        };
        let mut styles: Vec<Style> = Vec::new();
        let measured = report.servers.iter().filter(|server| !server.measurements.is_empty());
        for server in measured {
            let family = server.family.clone().unwrap_or_else(|| EXTERNAL.to_owned());
            let before = styles.iter().filter(|it| it.family == family).count();
            let colour = Family::ALL.iter().position(|it| it.name() == family);
            styles.push(Style {
                name: server.name.clone(),
                colour: colour.unwrap_or(Family::ALL.len()),
                dash: before % DASHES,
                family,
                is_default: false,
            });
        }
        let families: Vec<String> = styles.iter().map(|style| style.family.clone()).collect();
        let is_few = styles.len() <= MAX_DEFAULT;
        for (index, family) in families.iter().enumerate() {
            let of_family = styles.iter().enumerate().filter(|(_, style)| style.family == *family);
            let best = of_family
                .max_by(|(one_index, one), (other_index, other)| {
                    let [one, other] = [one, other].map(|it| throughput(&it.name).unwrap_or(0.0));
                    // Of equal servers, the first.
                    one.total_cmp(&other).then(other_index.cmp(one_index))
                })
                .map(|(index, _)| index);
            styles[index].is_default = is_few || best == Some(index) && *family != EXTERNAL;
        }
        Styles { styles }
    }

    /// Returns the servers in the order of the report. The position is the number of a series.
    pub fn all(&self) -> &[Style] {
        &self.styles
    }

    /// Returns the number of a server.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.styles.iter().position(|style| style.name == name)
    }
}
