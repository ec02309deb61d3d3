//! The description -> Grafana's model.

use super::UID;
use super::description::{Form, Panel, TITLE, rows};
use super::grafana::{
    Annotation, Color, Dashboard, DataSource, FieldConfig, FieldConfigSource, Figures, GridPos, Item, Legend, Lines,
    LinesCustom, List, Marks, NoCustom, Panel as Drawn, Reduce, RowPanel, Step, Target, Thresholds, ThresholdsStyle,
    Time, Tooltip, Variable,
};

/// Lines of the grid that a panel takes, and a row's heading.
const HEIGHT: u32 = 8;
const HEADING: u32 = 1;
const COLUMNS: u32 = 24;

/// The dashboard.
#[must_use]
pub fn dashboard() -> Dashboard {
    Dashboard {
        id: None,
        uid: UID.to_owned(),
        title: TITLE.to_owned(),
        description:
            "Migrations and change data capture by Whimbrel. Made by `whimbrel dashboards`, which also mends it."
                .to_owned(),
        tags: vec!["whimbrel".to_owned(), "migration".to_owned()],
        schema_version: 41,
        editable: true,
        graph_tooltip: 1,
        refresh: "30s".to_owned(),
        timezone: "browser".to_owned(),
        time: Time { from: "now-6h".to_owned(), to: "now".to_owned() },
        templating: List { list: vec![variable()] },
        annotations: List { list: vec![own_annotations(), migrations()] },
        panels: panels(),
    }
}

fn variable() -> Variable {
    Variable {
        kind: "datasource".to_owned(),
        name: "datasource".to_owned(),
        label: "Data source".to_owned(),
        query: "prometheus".to_owned(),
        multi: false,
        include_all: false,
        refresh: 1,
    }
}

fn prometheus() -> DataSource {
    DataSource { kind: "prometheus".to_owned(), uid: "${datasource}".to_owned() }
}

/// What every dashboard has: notes that people make.
fn own_annotations() -> Annotation {
    Annotation {
        built_in: Some(1),
        datasource: DataSource { kind: "grafana".to_owned(), uid: "-- Grafana --".to_owned() },
        enable: true,
        hide: true,
        icon_color: "rgba(0, 211, 255, 1)".to_owned(),
        name: "Annotations & Alerts".to_owned(),
        kind: Some("dashboard".to_owned()),
        prometheus: None,
    }
}

/// When which migration ran.
fn migrations() -> Annotation {
    Annotation {
        built_in: None,
        datasource: prometheus(),
        enable: true,
        hide: false,
        icon_color: "blue".to_owned(),
        name: "Migrations".to_owned(),
        kind: None,
        prometheus: Some(Marks {
            expr: "migration_info".to_owned(),
            step: "30s".to_owned(),
            tag_keys: "set,system,direction".to_owned(),
            text_format: "{{name}}".to_owned(),
            title_format: "Migration {{migration_id}}".to_owned(),
        }),
    }
}

fn panels() -> Vec<Item> {
    let mut items = Vec::new();
    let (mut id, mut y) = (0, 0);
    for row in rows() {
        id += 1;
        items.push(Item::Row(RowPanel {
            id,
            kind: "row".to_owned(),
            title: row.title.to_owned(),
            collapsed: false,
            grid_pos: GridPos { h: HEADING, w: COLUMNS, x: 0, y },
            panels: Vec::new(),
        }));
        y += HEADING;
        let mut x = 0;
        for panel in &row.panels {
            if x + panel.width > COLUMNS {
                (x, y) = (0, y + HEIGHT);
            }
            id += 1;
            items.push(drawn(id, panel, GridPos { h: HEIGHT, w: panel.width, x, y }));
            x += panel.width;
        }
        y += HEIGHT;
    }
    items
}

fn drawn(id: u32, panel: &Panel, grid_pos: GridPos) -> Item {
    match panel.form {
        Form::Lines => {
            let thresholds_style = (!panel.steps.is_empty()).then(|| ThresholdsStyle { mode: "dashed".to_owned() });
            let custom = LinesCustom {
                draw_style: "line".to_owned(),
                line_width: 1,
                fill_opacity: 10,
                show_points: "auto".to_owned(),
                span_nulls: false,
                axis_soft_min: 0,
                thresholds_style,
            };
            let options = Lines {
                legend: Legend {
                    calcs: vec!["lastNotNull".to_owned(), "max".to_owned()],
                    display_mode: "list".to_owned(),
                    placement: "bottom".to_owned(),
                    show_legend: true,
                },
                tooltip: Tooltip { mode: "multi".to_owned(), sort: "desc".to_owned() },
            };
            Item::Lines(Box::new(of(id, panel, grid_pos, "timeseries", "palette-classic", custom, options)))
        }
        Form::Figures => {
            let options = Figures {
                color_mode: if panel.steps.is_empty() { "none" } else { "value" }.to_owned(),
                graph_mode: "none".to_owned(),
                justify_mode: "auto".to_owned(),
                text_mode: "auto".to_owned(),
                wide_layout: true,
                orientation: "auto".to_owned(),
                show_percent_change: false,
                percent_change_color_mode: "standard".to_owned(),
                reduce_options: Reduce { calcs: vec!["last".to_owned()], fields: String::new(), values: false },
            };
            let color = if panel.steps.is_empty() { "palette-classic" } else { "thresholds" };
            Item::Figures(Box::new(of(id, panel, grid_pos, "stat", color, NoCustom {}, options)))
        }
    }
}

fn of<O, C>(id: u32, panel: &Panel, grid_pos: GridPos, kind: &str, color: &str, custom: C, options: O) -> Drawn<O, C> {
    let steps: Vec<Step> =
        panel.steps.iter().map(|(value, color)| Step { color: (*color).to_owned(), value: *value }).collect();
    let target = |(letter, (expr, legend)): (char, &(&str, &str))| Target {
        ref_id: letter.to_string(),
        datasource: prometheus(),
        expr: (*expr).to_owned(),
        legend_format: (*legend).to_owned(),
        editor_mode: "code".to_owned(),
        // A figure is that of now: asked over time it would go on showing what it was before it was lost.
        range: panel.form == Form::Lines,
        instant: panel.form == Form::Figures,
    };
    Drawn {
        id,
        kind: kind.to_owned(),
        title: panel.title.to_owned(),
        description: panel.about.to_owned(),
        datasource: prometheus(),
        grid_pos,
        field_config: FieldConfigSource {
            defaults: FieldConfig {
                unit: panel.unit.to_owned(),
                color: Color { mode: color.to_owned() },
                thresholds: (!steps.is_empty()).then(|| Thresholds { mode: "absolute".to_owned(), steps }),
                custom,
            },
            overrides: Vec::new(),
        },
        options,
        targets: ('A'..='Z').zip(&panel.queries).map(target).collect(),
    }
}
