//! The script of the composite action, run as a CI server runs it, with a program in whimbrel's place.

use std::path::Path;
use std::process::Command;

fn script() -> String {
    let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.github/actions/whimbrel-check/action.yml");
    let text = std::fs::read_to_string(action).unwrap();
    let (_, script) = text.split_once("      run: |\n").unwrap();
    script.lines().map(|line| line.strip_prefix("        ").unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn the_action_hands_its_inputs_on_as_they_are_and_ends_as_the_check_did() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let program = file("program");
    std::fs::write(&program, "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 12\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let run = |deadline: &str, arguments: &str| {
        let _ = std::fs::remove_file(file("outputs"));
        let output = Command::new("bash")
            .arg("-c")
            .arg(script())
            .env("MIGRATION_ID", "a b; echo \"$(id)\"")
            .env("MAX_LAG", "300")
            .env("AGENT_URL", "")
            .env("PROMETHEUS_URL", "http://p")
            .env("BASELINE", "")
            .env("DEADLINE", deadline)
            .env("FORMAT", "text")
            .env("OUTPUT", file("kept"))
            .env("ARGUMENTS", arguments)
            .env("PROGRAM", &program)
            .env("GITHUB_OUTPUT", file("outputs"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(12), "{output:?}");
        assert_eq!(std::fs::read_to_string(file("outputs")).unwrap(), "status=12\n");
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(std::fs::read_to_string(file("kept")).unwrap(), out);
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let given = [
        "check",
        "--migration-id",
        "a b; echo \"$(id)\"",
        "--max-lag",
        "300",
        "--format",
        "text",
        "--prometheus-url",
        "http://p",
    ];
    assert_eq!(run("", ""), given);
    let with: Vec<&str> = given.into_iter().chain(["--wait", "--deadline", "10m", "--matcher", "env=a b"]).collect();
    assert_eq!(run("10m", "--matcher\nenv=a b\n"), with);
}
