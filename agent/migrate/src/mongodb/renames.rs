//! Renames that lead nowhere: followed name by name, as they would be carried out.

use std::collections::BTreeMap;

use super::step::Step;

/// What is wrong with the renames of a script: a sentence per fault, with the step's number.
pub(super) fn faults(steps: &[Step]) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    // Per collection, where each name there is now came from; and the same for the collections themselves.
    let mut fields: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let mut collections: BTreeMap<String, String> = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::RenameFields { collection, fields: renames, .. } => {
                let known = fields.entry(collection).or_default();
                for rename in renames {
                    let also = renames
                        .iter()
                        .any(|other| other.from == rename.to || (other != rename && other.to == rename.to));
                    if also && rename.from != rename.to {
                        faults.push((
                            index,
                            format!("in one step `{}` is a new name and another name of it too", rename.to),
                        ));
                    }
                    if let Some(fault) = follow(known, &rename.from, &rename.to) {
                        faults.push((index, fault));
                    }
                }
            }
            Step::RenameCollection { from, to } => {
                if let Some(fault) = follow(&mut collections, from, to) {
                    faults.push((index, fault));
                }
            }
            // A collection made anew is another one.
            Step::CreateCollection { collection, .. } | Step::DropCollection { collection } => {
                collections.remove(collection);
            }
            _ => {}
        }
    }
    faults
}

/// Carries out one rename; a sentence when a thing comes back to the name it had.
fn follow(known: &mut BTreeMap<String, String>, from: &str, to: &str) -> Option<String> {
    if from == to {
        return Some(format!("`{from}` is renamed to itself"));
    }
    let origin = known.remove(from).unwrap_or_else(|| from.to_owned());
    if origin == to {
        return Some(format!("the renames lead in a circle: `{origin}` is `{to}` again"));
    }
    known.insert(to.to_owned(), origin);
    None
}

#[cfg(test)]
mod tests {
    use super::super::step::Rename;
    use super::*;
    use bson::doc;

    fn fields(pairs: &[(&str, &str)]) -> Step {
        let fields = pairs.iter().map(|(from, to)| Rename { from: (*from).into(), to: (*to).into() }).collect();
        Step::RenameFields { collection: "c".into(), filter: doc! {}, fields, overwrite: false, chunk: None }
    }

    fn collection(from: &str, to: &str) -> Step {
        Step::RenameCollection { from: from.into(), to: to.into() }
    }

    #[test]
    fn circles_are_found_and_swaps_over_a_third_name_are_not() {
        let cases: [(Vec<Step>, usize); 9] = [
            (vec![fields(&[("a", "b")])], 0),
            (vec![fields(&[("a", "a")])], 1),
            (vec![fields(&[("a", "b")]), fields(&[("b", "a")])], 1),
            (vec![fields(&[("a", "b"), ("b", "a")])], 3),
            (vec![fields(&[("a", "b"), ("c", "b")])], 2),
            (vec![fields(&[("a", "t")]), fields(&[("b", "a")]), fields(&[("t", "b")])], 0),
            (vec![fields(&[("a", "b")]), fields(&[("b", "c")]), fields(&[("c", "a")])], 1),
            (vec![collection("a", "b"), collection("b", "a")], 1),
            (vec![collection("a", "t"), collection("b", "a"), collection("t", "b")], 0),
        ];
        for (steps, expected) in cases {
            assert_eq!(faults(&steps).len(), expected, "{steps:?}: {:?}", faults(&steps));
        }
    }
}
