//! The parts of Grafana's dashboard model that are used here, as `@grafana/schema` 13 has them. `./x check dashboards` holds the
//! result against that package.

mod panel;

use serde::Serialize;

pub use panel::{
    Color, FieldConfig, FieldConfigSource, Figures, Legend, Lines, LinesCustom, NoCustom, Panel, Reduce, Step, Target,
    Thresholds, ThresholdsStyle, Tooltip,
};

/// A dashboard.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// Always null: Grafana numbers dashboards itself and finds them by uid.
    pub id: Option<u64>,
    /// The stable id.
    pub uid: String,
    /// Title.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Tags.
    pub tags: Vec<String>,
    /// The form of this document.
    pub schema_version: u32,
    /// People may change their copy.
    pub editable: bool,
    /// 1: one crosshair over all panels.
    pub graph_tooltip: u32,
    /// How often it asks again.
    pub refresh: String,
    /// The viewer's time zone.
    pub timezone: String,
    /// What is shown.
    pub time: Time,
    /// Variables.
    pub templating: List<Variable>,
    /// Annotations.
    pub annotations: List<Annotation>,
    /// Rows and panels.
    pub panels: Vec<Item>,
}

/// A span of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Time {
    /// Its beginning.
    pub from: String,
    /// Its end.
    pub to: String,
}

/// A list, as Grafana wraps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct List<T> {
    /// The list.
    pub list: Vec<T>,
}

/// Which data source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataSource {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    pub uid: String,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What people read.
    pub label: String,
    /// What there is to choose from.
    pub query: String,
    /// Several at once.
    pub multi: bool,
    /// All at once.
    pub include_all: bool,
    /// 1: when the dashboard is opened.
    pub refresh: u32,
}

/// A kind of annotation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotation {
    /// 1 for Grafana's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_in: Option<u32>,
    /// Where from.
    pub datasource: DataSource,
    /// Shown.
    pub enable: bool,
    /// No switch for it.
    pub hide: bool,
    /// Its colour.
    pub icon_color: String,
    /// Its name.
    pub name: String,
    /// `dashboard` for Grafana's own.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What Prometheus is asked.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Marks>,
}

/// An annotation out of Prometheus: a region wherever the query has a series. These fields are those of Grafana's Prometheus
/// data source, not of the schema.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// The query.
    pub expr: String,
    /// How finely.
    pub step: String,
    /// Labels that become tags.
    pub tag_keys: String,
    /// Its text.
    pub text_format: String,
    /// Its title.
    pub title_format: String,
}

/// A row or a panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Item {
    /// A row.
    Row(RowPanel),
    /// A panel with lines.
    Lines(Box<Panel<Lines, LinesCustom>>),
    /// A panel with figures.
    Figures(Box<Panel<Figures, NoCustom>>),
}

/// The heading of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowPanel {
    /// Number.
    pub id: u32,
    /// `row`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Title.
    pub title: String,
    /// Closed.
    pub collapsed: bool,
    /// Where it is.
    pub grid_pos: GridPos,
    /// The panels of a closed row.
    pub panels: Vec<Item>,
}

/// A place on the grid of 24 columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GridPos {
    /// Height.
    pub h: u32,
    /// Width.
    pub w: u32,
    /// Column.
    pub x: u32,
    /// Line.
    pub y: u32,
}
