//! The loader as a whole: places, hints, several findings at once, examples, and the canary that stands for a secret.

use std::path::Path;

use super::load::load_text;
use super::reference::Environment;
use super::validated::TargetConfig;
use super::{AgentConfig, Loaded, PipelineConfig, Report, example, raw, schema};
use crate::connect;
use crate::export::ExportConfig;
use crate::pipeline::Settings;

const BASE: &str = "\
pipelines:
  - name: shop
    source:
      kafka:
        brokers: ['127.0.0.1:9092']
    target:
      sqlite: {path: ./shop.db}
";

fn load(text: &str) -> Result<Loaded, Report> {
    load_with(text, "value-of-variable")
}

fn load_with(text: &str, value: &str) -> Result<Loaded, Report> {
    let variable = |_: &str| Ok(value.to_owned());
    load_text(Path::new("w.yaml"), text, &Environment { variable: &variable, base: ".".into() })
}

/// What a report says, one line a finding: `LINE:COLUMN path: message; hint`.
fn findings(text: &str) -> Vec<String> {
    let report = match load(text) {
        Ok(loaded) => loaded.report,
        Err(report) => report,
    };
    let show = |f: &super::Finding| {
        let at = f.at.map_or_else(|| "-".into(), |at| format!("{}:{}", at.line, at.column));
        format!("{at} {}: {}; {}", f.path, f.message, f.hint)
    };
    report.findings().iter().map(show).collect()
}

#[test]
fn the_least_configuration_loads_and_has_its_defaults() {
    let loaded = load(BASE).unwrap();
    assert_eq!(loaded.report.findings(), []);
    assert_eq!(loaded.config.export.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(loaded.config.pipelines.len(), 1);
    assert_eq!(loaded.config.export.max_series_per_metric, 2_000);
}

/// Whoever copies an example from a page starts with it. Excerpts, which have no source, are left out.
#[test]
fn whole_configurations_in_the_pages_are_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for page in pages.chain([root.join("README.md")]).filter(|page| page.extension().is_some_and(|e| e == "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let whole = block.contains("pipelines:") && block.contains("source:");
            if whole || block.starts_with("migrations:") {
                assert_eq!(findings(block), [""; 0], "{}: {block}", page.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "the pages show no configuration");
}

#[test]
fn findings_name_line_column_path_and_remedy() {
    for (change, with, expect) in [
        (
            "brokers:",
            "broker:",
            vec![
                "4:7 pipelines[0].source.kafka: the field `brokers` is missing; add `brokers: …` here",
                "5:9 pipelines[0].source.kafka.broker: unknown field `broker`; did you mean `brokers`?",
            ],
        ),
        (
            "['127.0.0.1:9092']",
            "127.0.0.1:9092",
            vec![
                "5:18 pipelines[0].source.kafka.brokers: expected a list, found text or a number; write `[one, two]`, or one `- item` a line below",
            ],
        ),
        (
            "  - name: shop\n",
            "  - nmae: shop\n",
            vec![
                "2:5 pipelines[0]: the field `name` is missing; add `name: …` here",
                "2:5 pipelines[0].nmae: unknown field `nmae`; did you mean `name`?",
            ],
        ),
        ("sqlite:", "sqlit:", vec!["7:7 pipelines[0].target.sqlit: unknown field `sqlit`; did you mean `sqlite`?"]),
        (
            "{path: ./shop.db}",
            "{path: ./shop.db, synchronous: fulll}",
            vec![
                "7:46 pipelines[0].target.sqlite.synchronous: `fulll` is not known here; did you mean `full`? known are `full`, `normal`",
            ],
        ),
        (
            "name: shop",
            "name: my shop",
            vec![
                "2:11 pipelines[0].name: not a name: it holds other characters; use 1 to 64 letters, digits, `-` and `_`",
            ],
        ),
        (
            "pipelines:",
            "http: {listen: everywhere}\npipelines:",
            vec![
                "1:16 http.listen: `everywhere` is not an address and a port; write for example 127.0.0.1:9464, or [::1]:0 for a free port",
            ],
        ),
        (
            "pipelines:",
            "http: {listen: '0.0.0.0:1'}\npipelines:",
            vec![
                "1:16 http.listen: other machines can reach this address, and it asks for no password; listen on 127.0.0.1, or keep strangers off the port",
            ],
        ),
    ] {
        let text = BASE.replace(change, with);
        assert_ne!(text, BASE);
        assert_eq!(findings(&text), expect, "{text}");
    }
}

#[test]
fn what_may_be_recorded_and_where_crashes_go_is_said_in_words_and_checked() {
    let plugins = |text: &str| load(&format!("plugins: {{{text}}}\n{BASE}")).map(|loaded| loaded.config.plugins);
    for (text, expect) in [
        ("", raw::Record::Redacted),
        ("record: off", raw::Record::Off),
        ("record: redacted", raw::Record::Redacted),
        ("record: values", raw::Record::Values),
    ] {
        assert_eq!(plugins(text).unwrap().record, expect, "{text}");
    }
    let set = plugins("repro_dir: /nowhere/repro").unwrap();
    assert_eq!((set.repro_dir.as_deref(), set.repro_keep), (Some(Path::new("/nowhere/repro")), 20));
    for (text, expect) in [
        ("record: all", "`all` is not known here"),
        ("repro_dir: ''", "not the path of a folder"),
        ("repro_dir: Cargo.toml", "not the path of a folder"),
        ("repro_keep: 0", "not a number of files"),
    ] {
        let report = plugins(text).unwrap_err().to_string();
        assert!(report.contains(expect), "{text}: {report}");
    }
}

#[test]
fn the_options_of_plugins_are_also_kept_as_they_are_written() {
    let transform = "    transform:
      - {plugin: route, config: {a: 'x-${env:A}', b: [1, '$${c}', {d: true}]}}
      - plugin: ./p.wasm
        config: {e: '${env:E}'}
        shadow: {plugin: ./q.wasm, config: {f: '${env:F}', g: '${env:G}${env:H}'}}
";
    let config = load_with(&format!("{BASE}{transform}"), CANARY).unwrap().config;
    let [route, p] = config.pipelines[0].transform.as_slice() else { panic!("two plugins") };
    let shadow = p.shadow.as_ref().unwrap();
    for (config, written, expect, secrets) in [
        (&route.config, &route.written, r#"{"a":"x-${env:A}","b":[1,"${c}",{"d":true}]}"#, 1),
        (&p.config, &p.written, r#"{"e":"${env:E}"}"#, 1),
        (shadow.config.as_ref().unwrap(), &shadow.written, r#"{"f":"${env:F}","g":"${env:G}${env:H}"}"#, 3),
    ] {
        assert_eq!(serde_json::to_string(&written.options).unwrap(), expect);
        assert!(serde_json::to_string(config).unwrap().contains(CANARY), "the plugin gets what the reference holds");
        assert_eq!(written.secrets.len(), secrets, "{expect}");
        assert!(written.secrets.iter().all(|(_, secret)| secret.expose() == CANARY), "{expect}");
    }
}

#[test]
fn all_findings_of_a_file_are_told_at_once() {
    let text = "\
name: [a]
metrics: {max_series_per_metric: 0}
log: {format: xml, level: '///'}
otlp: {endpoint: ftp://x, interval: 10}
pipelines:
  - name: one
    source: {kafka: {brokers: ['h:1'], prefetch: lots, start: never}}
    target: {stdout: {}}
  - name: two
    source: {kafka: {brokers: ['h:1']}}
    target: {stdout: {}}
    delivery: {mode: exactly_once}
    transform:
      - {plugin: mask-field}
      - {plugin: mask-fields, on_trap: pass}
surplus: 1
";
    let lines: Vec<usize> = load(text).unwrap_err().findings().iter().map(|f| f.at.unwrap().line).collect();
    assert_eq!(lines, [1, 2, 3, 3, 4, 4, 6, 7, 7, 10, 12, 12, 14, 15, 16], "{:#?}", findings(text));
}

#[test]
fn an_unset_variable_is_one_finding_and_hides_no_other() {
    let text = BASE.replace("sqlite: {path: ./shop.db}", "mongodb: {uri: 'mongodb://u:${env:P}@h/', database: d}")
        + "    delivery: {batch: {max_wait: '${env:W}'}}\n    transform: [{plugin: mask-field}]\n";
    let variable = |_: &str| Err("is not set");
    let report = load_text(Path::new("w"), &text, &Environment { variable: &variable, base: ".".into() }).unwrap_err();
    let messages: Vec<&str> = report.findings().iter().map(|f| f.message.as_str()).collect();
    let expect = [
        "the environment variable `P` is not set",
        "the environment variable `W` is not set",
        "no bundled plugin, and no path",
    ];
    assert_eq!(messages, expect);
}

#[test]
fn checks_between_sections_hold() {
    let second = BASE.replace("pipelines:\n", "");
    for (addition, message) in [
        (second.clone(), "pipelines[0] has the same name"),
        (second.replace("name: shop", "name: other"), "reads the same topics in the same consumer group"),
        (
            second.replace("name: shop", "name: other").replace("brokers:", "group: g2\n        brokers:"),
            "writes the same file",
        ),
    ] {
        let all = findings(&format!("{BASE}{addition}"));
        assert!(all.iter().any(|finding| finding.contains(message)), "{all:#?}");
    }
    assert!(findings("{}")[0].contains("there is no pipeline"));
}

#[test]
fn migrations_alone_are_a_configuration_and_each_has_a_name_of_its_own() {
    let one = "  - {name: shop, directory: ./m, database: {sqlite: {path: ./shop.db}}}\n";
    let loaded = load(&format!("migrations:\n{one}")).unwrap();
    assert_eq!((loaded.report.findings(), loaded.config.migrations.len()), ([].as_slice(), 1));
    for (text, expect) in [
        (format!("{one}{one}"), "migrations[1].name: migrations[0] has the same name; "),
        (one.replace("./shop.db", "''"), "migrations[0].database.sqlite.path: not the path of a file; "),
        (
            one.replace("sqlite", "sqllite"),
            "migrations[0].database.sqllite: unknown field `sqllite`; did you mean `sqlite`?",
        ),
        (
            one.replace("path: ./shop.db", "path: ./shop.db}}, on_start: aply, x: {y: {"),
            "migrations[0].on_start: `aply` is not known here; did you mean `apply`?",
        ),
    ] {
        let all = findings(&format!("migrations:\n{text}"));
        assert!(all.iter().any(|finding| finding.contains(&format!(" {expect}"))), "{expect}: {all:#?}");
    }
    let secret = "migrations: [{name: a, directory: m, database: {postgresql: {url: 'postgresql://u:canary-1@h/d'}}}]";
    let report = load(secret).unwrap_err().to_string();
    assert!(report.contains("a secret is written out in the file") && !report.contains("canary-1"), "{report}");
}

#[test]
fn a_secret_written_out_is_refused_and_not_repeated() {
    for target in
        ["mongodb: {uri: 'mongodb://u:canary-1@h/', database: d}", "postgresql: {uri: 'host=h password=canary-1'}"]
    {
        let text = BASE.replace("sqlite: {path: ./shop.db}", target);
        let report = load(&text).unwrap_err().to_string();
        assert!(report.contains("a secret is written out in the file"), "{report}");
        assert!(!report.contains("canary-1"), "{report}");
    }
    let good = BASE.replace("sqlite: {path: ./shop.db}", "mongodb: {uri: 'mongodb://u:${env:P}@h/', database: d}");
    load(&good).unwrap();
}

#[test]
fn the_examples_pass_their_own_check() {
    for text in [example::COMPLETE, example::MINIMAL] {
        let loaded = load(text).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(loaded.report.findings(), [], "{}", loaded.report);
    }
}

#[test]
fn the_complete_example_names_every_field_there_is() {
    let schema = schema::schema();
    let mut fields: Vec<String> = Vec::new();
    for definition in schema["$defs"].as_object().unwrap().values().chain([&schema]) {
        fields.extend(definition["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    }
    // A variant of an enum is a property of one of its alternatives.
    assert!(fields.len() > 60, "{}", fields.len());
    let missing: Vec<_> = fields.iter().filter(|field| !example::COMPLETE.contains(&format!("{field}:"))).collect();
    assert_eq!(missing, Vec::<&String>::new());
}

/// A word that is no part of anything else, and whose parts are not either.
const CANARY: &str = "zqxjkvbzwq7jzvx";

/// Debug prints of what each stage holds of the configuration. Taken apart by name, so that a section that is added does not
/// compile until it stands here.
fn sections(config: &AgentConfig) -> String {
    let AgentConfig { name: _, export, log, plugins, pipelines, connectors, migrations, monitor } = config;
    let ExportConfig { listen: _, otlp, max_series_per_metric: _ } = export;
    let mut shown = vec![format!("{export:?} {otlp:?} {log:?} {plugins:?} {connectors:?}")];
    shown.extend(otlp.iter().map(|otlp| format!("{:?} {:?}", otlp.tls, otlp.headers.len())));
    for PipelineConfig { settings, transform, target, lag, migration_id: _ } in pipelines {
        let Settings { name: _, kafka, decode, mapping, delivery, use_group_offsets: _ } = settings;
        shown.push(format!("{settings:?} {kafka:?} {:?} {decode:?} {:?}", kafka.topics, decode.types));
        shown.push(format!("{mapping:?} {delivery:?} {transform:?} {lag:?} "));
        shown.push(match target {
            TargetConfig::Mongodb(settings) => format!("{settings:?}"),
            TargetConfig::Postgresql(settings) => format!("{settings:?}"),
            TargetConfig::Sqlite(settings) => format!("{settings:?}"),
            TargetConfig::Stdout(settings) => format!("{settings:?}"),
        });
    }
    shown.extend(migrations.iter().map(|one| format!("{one:?} {:?} {:?} {:?}", one.database, one.options, one.limits)));
    if let Some(monitor) = monitor {
        shown.push(format!("{monitor:?} {:?} {:?} {:?}", monitor.rules, monitor.channels, monitor.mail));
    }
    if let Some(connect::settings::Settings { endpoint, restart, progress, desired }) = connectors {
        shown.push(format!("{endpoint:?} {restart:?} {progress:?} {:?} {desired:?}", progress.kafka));
        shown.extend(desired.iter().map(|one| format!("{:?} {:?}", one.config, one.overrides)));
    }
    shown.join("\n")
}

/// Everything a user or a log may see of loading `text`.
fn every_output(text: &str, value: &str) -> String {
    match load_with(text, value) {
        Ok(loaded) => format!("{loaded:?}\n{loaded:#?}\n{}\n{}", loaded.report, sections(&loaded.config)),
        Err(report) => format!("{report}\n{report:?}\n{report:#?}\n{:#}", anyhow::Error::new(report.clone())),
    }
}

/// No run of five characters of the canary may appear: a message that quotes a part of a secret leaks it too.
fn assert_no_canary(output: &str, context: &str) {
    let lower = output.to_lowercase();
    for start in 0..=CANARY.len() - 5 {
        let part = &CANARY[start..start + 5];
        assert!(!lower.contains(part), "{context}: `{part}` leaked in\n{output}");
    }
}

#[test]
fn a_resolved_value_is_in_no_output_whichever_field_it_stands_in() {
    // Every scalar of the complete example in turn becomes a reference: most then fail, each in its own way.
    let (root, _) = super::yaml::parse(example::COMPLETE).unwrap();
    let mut scalars = Vec::new();
    root.walk(&mut |node| {
        if matches!(node.value, super::node::Value::Scalar(_)) {
            scalars.push((node.path.clone(), node.at));
        }
    });
    assert!(scalars.len() > 80, "{}", scalars.len());
    let values =
        [CANARY.to_owned(), format!("{CANARY}:99999"), format!("h://u:{CANARY}@[x"), format!("1\n{CANARY}\u{1b}[0m")];
    let (mut failed, mut loaded) = (0, 0);
    for (path, at) in &scalars {
        let lines = example::COMPLETE.lines().enumerate().map(|(index, line)| {
            if index + 1 != at.line {
                return line.to_owned();
            }
            let head: String = line.chars().take(at.column - 1).collect();
            let tail: String = line.chars().skip(at.column - 1 + at.len).collect();
            format!("{head}\"${{env:CANARY}}\"{tail}")
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        for value in &values {
            let output = every_output(&text, value);
            failed += usize::from(output.contains("error:"));
            loaded += usize::from(output.contains("AgentConfig"));
            assert_no_canary(&output, path);
        }
        // The reference as one part of the value.
        let text = text.replace("\"${env:CANARY}\"", "\"x-${env:CANARY}-y\"");
        assert_no_canary(&every_output(&text, CANARY), path);
    }
    // Otherwise the outputs above were mostly empty, and nothing was tested.
    assert!(failed > scalars.len(), "only {failed} failed");
    assert!(loaded > 40, "only {loaded} loaded, so hardly a stage's settings were printed");
}

#[test]
fn a_resolved_value_that_breaks_another_field_is_in_no_output() {
    for value in [CANARY.to_owned(), format!("[{CANARY}]")] {
        for text in [
            // Fails in a neighbour, in the section around it, and between sections.
            BASE.replace("'127.0.0.1:9092'", "'${env:C}:9092', 'oops'"),
            BASE.replace("brokers:", "topics: ['${env:C}']\n        topic_pattern: x\n        brokers:"),
            format!("{}{}", BASE.replace("./shop.db", "${env:C}"), BASE.replace("pipelines:\n", "").replace("./shop.db", "${env:C}")),
            format!("name: ${{env:C}}\n{}", BASE.replace("sqlite", "sqlte")),
            BASE.replace("    target", "    decode: {types: {'a.b.c': '${env:C}'}}\n    target"),
            BASE.replace("    target", "    transform: [{plugin: '${env:C}'}, {plugin: route, config: {x: '${env:C}'}, limits: {memory: 1B}}]\n    target"),
        ] {
            assert_no_canary(&every_output(&text, &value), &text);
        }
    }
}

#[test]
fn the_schema_and_the_examples_hold_no_resolved_value() {
    // Neither reads the environment; this keeps it so.
    assert_no_canary(&schema::schema().to_string(), "schema");
    assert_no_canary(example::COMPLETE, "example");
}
