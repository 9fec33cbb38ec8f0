//! `cargo xtask conformance`: the list of what the conformance tests show, made from their names and quotations.

use std::{fmt::Write as _, fs, path::Path, process::ExitCode};

use anyhow::Context as _;

const TESTS: &str = "tests/tests/conformance.rs";
const LIST: &str = "tests/CONFORMANCE.md";

/// Writes the list, or with `check` fails where it is not up to date.
pub(crate) fn run(check: bool) -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let source = fs::read_to_string(root.join(TESTS)).with_context(|| format!("{TESTS} cannot be read"))?;
    let list = list(&source);
    let path = root.join(LIST);
    if !check {
        fs::write(path, list).with_context(|| format!("{LIST} cannot be written"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if fs::read_to_string(path).unwrap_or_default() == list {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{LIST} is not what {TESTS} says: run `cargo xtask conformance`");
    Ok(ExitCode::FAILURE)
}

/// A section for each module, a row for each test: its quotation and its name.
fn list(source: &str) -> String {
    let mut list = String::from(
        "# Conformance\n\nWhat the specification says, and the test that shows it: `cargo test -p rendezvous-tests --test \
         conformance`.\nThis list is made from the tests by `cargo xtask conformance`.\n",
    );
    let (mut doc, mut is_test, mut module) = (Vec::new(), false, String::new());
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            let title = doc.join(" ");
            module = name.to_owned();
            write!(list, "\n## {}\n\n| the specification | the test |\n|---|---|\n", title.trim_matches(['"', '.']))
                .expect("a String takes every write");
            doc.clear();
        } else if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            if is_test {
                writeln!(list, "| {} | `{module}::{}` |", doc.join(" ").replace('|', "\\|"), name.0)
                    .expect("a String takes every write");
            }
            doc.clear();
            is_test = false;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_becomes_a_row_of_its_section_and_a_helper_does_not() {
        let source = "/// \"Lifetime\".\nmod lifetime {\n  fn helper() {}\n  /// \"It ends\n  /// at last.\"\n  #[test]\n  fn it_ends() {}\n}\n";
        let list = list(source);
        assert!(list.contains("\n## Lifetime\n"), "{list}");
        assert!(list.ends_with("|---|---|\n| \"It ends at last.\" | `lifetime::it_ends` |\n"), "{list}");
    }
}
