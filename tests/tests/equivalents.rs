//! The tests that `EQUIVALENTS.md` names are there.

use std::{collections::BTreeSet, fs, path::Path};

/// Words of letters, digits and underscores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
}

/// Every function, and every file by its name, below a directory.
fn collect(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the workspace can be read") {
        let path = entry.expect("the workspace can be read").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            let source = fs::read_to_string(&path).expect("sources are text");
            let functions = source.split("fn ").skip(1).filter_map(|rest| words(rest).next());
            names.extend(functions.map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = BTreeSet::new();
    for directory in ["crates", "examples", "tests"] {
        collect(&root.join(directory), &mut names);
    }
    let table = fs::read_to_string(root.join("tests/EQUIVALENTS.md")).expect("the table is there");
    // Names of so many words are tests; those that begin so are py-libp2p's.
    let is_ours = |word: &&str| word.matches('_').count() >= 3 && !word.starts_with("test_");
    let named: BTreeSet<&str> = words(&table).filter(is_ours).collect();
    assert!(named.len() > 150, "{} tests are named", named.len());
    let missing: Vec<_> = named.into_iter().filter(|word| !names.contains(*word)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
