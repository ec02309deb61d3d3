//! Panels of the types `timeseries` and `stat`.

use serde::Serialize;

use super::{DataSource, GridPos};

/// A panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel<O, C> {
    /// Number.
    pub id: u32,
    /// `timeseries` or `stat`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Title.
    pub title: String,
    /// What it means.
    pub description: String,
    /// Where the data come from.
    pub datasource: DataSource,
    /// Where it is.
    pub grid_pos: GridPos,
    /// Units and colours.
    pub field_config: FieldConfigSource<C>,
    /// Options of its type.
    pub options: O,
    /// Queries.
    pub targets: Vec<Target>,
}

/// A query of Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Letter.
    pub ref_id: String,
    /// Where from.
    pub datasource: DataSource,
    /// The query.
    pub expr: String,
    /// The names of its series.
    pub legend_format: String,
    /// Opened as text.
    pub editor_mode: String,
    /// Over time.
    pub range: bool,
    /// Only now.
    pub instant: bool,
}

/// Units and colours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldConfigSource<C> {
    /// Of all series.
    pub defaults: FieldConfig<C>,
    /// Of some.
    pub overrides: Vec<()>,
}

/// Units and colours.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldConfig<C> {
    /// Unit.
    pub unit: String,
    /// What the colour tells.
    pub color: Color,
    /// Where colours change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    /// Of this type of panel.
    pub custom: C,
}

/// What the colour tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Color {
    /// `palette-classic` or `thresholds`.
    pub mode: String,
}

/// Where colours change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Thresholds {
    /// `absolute`.
    pub mode: String,
    /// From where on.
    pub steps: Vec<Step>,
}

/// From a value on, a colour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The colour.
    pub color: String,
    /// From here on.
    pub value: f64,
}

/// Options of `timeseries`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lines {
    /// Legend.
    pub legend: Legend,
    /// What shows under the pointer.
    pub tooltip: Tooltip,
}

/// Legend.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Legend {
    /// Figures beside the names.
    pub calcs: Vec<String>,
    /// `list` or `table`.
    pub display_mode: String,
    /// `bottom` or `right`.
    pub placement: String,
    /// Shown.
    pub show_legend: bool,
}

/// What shows under the pointer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tooltip {
    /// `multi`: all series.
    pub mode: String,
    /// `desc`: the largest first.
    pub sort: String,
}

/// Drawing of lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinesCustom {
    /// `line`.
    pub draw_style: String,
    /// Width.
    pub line_width: u32,
    /// Of 100.
    pub fill_opacity: u32,
    /// `never`: what is absent stays absent.
    pub show_points: String,
    /// Gaps stay gaps: a line across them would be made up.
    pub span_nulls: bool,
    /// Lines never begin above zero.
    pub axis_soft_min: u32,
    /// How thresholds are drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds_style: Option<ThresholdsStyle>,
}

/// How thresholds are drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThresholdsStyle {
    /// `dashed`.
    pub mode: String,
}

/// Nothing of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoCustom {}

/// Options of `stat`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// What is coloured.
    pub color_mode: String,
    /// `none`: there is no line behind the figure.
    pub graph_mode: String,
    /// Where it stands.
    pub justify_mode: String,
    /// Name and figure.
    pub text_mode: String,
    /// One beside the other.
    pub wide_layout: bool,
    /// `auto`.
    pub orientation: String,
    /// No change in percent.
    pub show_percent_change: bool,
    /// Its colours.
    pub percent_change_color_mode: String,
    /// Which figure.
    pub reduce_options: Reduce,
}

/// Which figure of a series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reduce {
    /// `last`.
    pub calcs: Vec<String>,
    /// All.
    pub fields: String,
    /// One figure a series.
    pub values: bool,
}
