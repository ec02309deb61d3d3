//! A template: JSON in whose texts `{{field}}` stands for a field. It is parsed once, before there are alerts; what is filled
//! in are values at its leaves, so that nothing an alert holds can become structure. A text that is one placeholder and
//! nothing else becomes the field with its own type.

use whimbrel_plugin::json::Json;
use whimbrel_plugin::prelude::*;

use crate::fields::{AlertField, GroupField, OF_ALERT, OF_GROUP};

/// The member that repeats its value for each alert.
const REPEAT: &str = "for_each_alert";

/// What a request's body is made from.
pub struct Template(Node<Outer>);

/// A field outside `for_each_alert`.
#[derive(Clone, Copy)]
enum Outer {
    /// Of the group.
    Group(GroupField),
    /// Of the alert, where one goes alone.
    Alert(AlertField),
}

/// Where each alert goes alone, both can be named; what both have is the alert's.
fn outer(name: &str, alone: bool) -> Result<Outer, String> {
    let group = OF_GROUP.map(|(name, field)| (name, Outer::Group(field)));
    let alert = OF_ALERT.map(|(name, field)| (name, Outer::Alert(field)));
    if alone { field(&[alert.as_slice(), &group].concat(), name) } else { field(&group, name) }
}

/// A piece of JSON with placeholders of one kind.
enum Node<F> {
    /// As it is written.
    Fixed(Json),
    /// A field.
    Field(F),
    /// Text with fields in it.
    Text(Vec<Part<F>>),
    List(Vec<Node<F>>),
    Object(Vec<(String, Node<F>)>),
    /// In a list: once for each alert.
    Repeat(Box<Node<AlertField>>),
}

enum Part<F> {
    Fixed(String),
    Field(F),
}

impl Template {
    /// Reads a template. `alone`: it is for one alert at a time.
    ///
    /// # Errors
    /// When it is no JSON, names a field there is not, or repeats where nothing can be repeated.
    pub fn parse(text: &str, alone: bool) -> Result<Self, String> {
        let json = Json::parse(text).map_err(|error| error.to_string())?;
        group(&json, alone).map(Template)
    }

    /// The template with these alerts filled in.
    pub(crate) fn filled(&self, alerts: &[Alert]) -> Json {
        let value = |field: &Outer| match field {
            Outer::Group(field) => field(alerts),
            Outer::Alert(field) => alerts.first().map_or(Json::Null, field),
        };
        self.0.filled(&value, alerts)
    }
}

fn group(json: &Json, alone: bool) -> Result<Node<Outer>, String> {
    match json {
        Json::List(items) => {
            let items = items.iter().map(|item| match item {
                Json::Object(members) => match members.as_slice() {
                    [(name, each)] if name == REPEAT => Ok(Node::Repeat(Box::new(one(each)?))),
                    _ => group(item, alone),
                },
                _ => group(item, alone),
            });
            items.collect::<Result<_, _>>().map(Node::List)
        }
        Json::Object(members) => object(members, |value| group(value, alone)),
        Json::Text(words) => text(words, &|name: &str| outer(name, alone)),
        fixed => Ok(Node::Fixed(fixed.clone())),
    }
}

fn one(json: &Json) -> Result<Node<AlertField>, String> {
    let lookup = |name: &str| field(&OF_ALERT, name);
    match json {
        Json::List(items) => items.iter().map(one).collect::<Result<_, _>>().map(Node::List),
        Json::Object(members) => object(members, one),
        Json::Text(words) => text(words, &lookup),
        fixed => Ok(Node::Fixed(fixed.clone())),
    }
}

fn object<F>(members: &[(String, Json)], node: impl Fn(&Json) -> Result<Node<F>, String>) -> Result<Node<F>, String> {
    if members.iter().any(|(name, _)| name == REPEAT) {
        return Err(format!("`{REPEAT}` stands alone in an object that is an item of a list, and not inside another"));
    }
    if let Some((name, _)) = members.iter().find(|(name, _)| name.contains("{{")) {
        return Err(format!("`{name}`: a member's name has no placeholders"));
    }
    members
        .iter()
        .map(|(name, value)| Ok((name.clone(), node(value)?)))
        .collect::<Result<_, String>>()
        .map(Node::Object)
}

fn field<F: Copy>(known: &[(&str, F)], name: &str) -> Result<F, String> {
    known.iter().find(|(known, _)| *known == name).map(|(_, field)| *field).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        format!("there is no `{{{{{name}}}}}` here, expected one of {}", names.join(", "))
    })
}

fn text<F>(words: &str, lookup: &impl Fn(&str) -> Result<F, String>) -> Result<Node<F>, String> {
    let mut parts = Vec::new();
    let mut rest = words;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, behind) = after.split_once("}}").ok_or_else(|| format!("`{words}`: `{{{{` without `}}}}`"))?;
        if !before.is_empty() {
            parts.push(Part::Fixed(before.to_owned()));
        }
        parts.push(Part::Field(lookup(name.trim())?));
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(Part::Fixed(rest.to_owned()));
    }
    Ok(match (parts.pop(), parts.is_empty()) {
        (None, _) => Node::Fixed(words.into()),
        (Some(Part::Fixed(fixed)), true) => Node::Fixed(fixed.into()),
        (Some(Part::Field(field)), true) => Node::Field(field),
        (Some(last), false) => {
            parts.push(last);
            Node::Text(parts)
        }
    })
}

impl<F> Node<F> {
    fn filled(&self, value: &dyn Fn(&F) -> Json, alerts: &[Alert]) -> Json {
        match self {
            Node::Fixed(json) => json.clone(),
            Node::Field(field) => value(field),
            Node::Text(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Fixed(fixed) => fixed.clone(),
                    Part::Field(field) => in_text(value(field)),
                })
                .collect::<String>()
                .into(),
            Node::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Node::Repeat(each) => list
                            .extend(alerts.iter().map(|alert| each.filled(&|field: &AlertField| field(alert), alerts))),
                        item => list.push(item.filled(value, alerts)),
                    }
                }
                Json::List(list)
            }
            Node::Object(members) => {
                Json::Object(members.iter().map(|(name, node)| (name.clone(), node.filled(value, alerts))).collect())
            }
            // Parsing puts it into lists only.
            Node::Repeat(_) => Json::Null,
        }
    }
}

/// A field inside other text: nothing where there is none.
fn in_text(value: Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Text(text) => text,
        other => other.to_string(),
    }
}
