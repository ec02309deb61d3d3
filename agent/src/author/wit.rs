//! The contract in `wit/`, carried along so that a module from any language can be encoded without the repository at hand.

use std::path::Path;

use wit_parser::{PackageId, Resolve, SourceMap};

/// The files of the contract's package.
const FILES: [(&str, &str); 12] = [
    ("channel.wit", include_str!("../../../wit/channel.wit")),
    ("database.wit", include_str!("../../../wit/database.wit")),
    ("egress.wit", include_str!("../../../wit/egress.wit")),
    ("events.wit", include_str!("../../../wit/events.wit")),
    ("host.wit", include_str!("../../../wit/host.wit")),
    ("lifecycle.wit", include_str!("../../../wit/lifecycle.wit")),
    ("migration.wit", include_str!("../../../wit/migration.wit")),
    ("rule.wit", include_str!("../../../wit/rule.wit")),
    ("stats.wit", include_str!("../../../wit/stats.wit")),
    ("transform.wit", include_str!("../../../wit/transform.wit")),
    ("types.wit", include_str!("../../../wit/types.wit")),
    ("worlds.wit", include_str!("../../../wit/worlds.wit")),
];

/// Parses the contract.
pub(super) fn resolve() -> Result<(Resolve, PackageId), String> {
    let mut sources = SourceMap::default();
    for (name, text) in FILES {
        sources.push(Path::new(name), text);
    }
    let group = sources.parse().map_err(|(_, error)| error.to_string())?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group).map_err(|error| error.to_string())?;
    Ok((resolve, package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_contract_is_carried_along() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".wit"))
            .collect();
        files.sort();
        assert_eq!(files, FILES.map(|(name, _)| name));
    }
}
