//! `docs/requirements.md` says the truth: every number is there, and every test it names exists and names its number.

use std::collections::BTreeMap;
use std::path::Path;

/// The numbers of the table.
fn numbers() -> impl Iterator<Item = u32> {
    (1..=46).chain(83..=92)
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table: the number, and what its last column says.
fn rows() -> BTreeMap<u32, String> {
    let text = read("docs/requirements.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| R-"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let [number, _, proof] = cells.as_slice() else { panic!("a row of another shape: {row}") };
        (number.parse().expect("a number"), (*proof).to_owned())
    })
    .collect()
}

/// The comment directly above a test, its attributes left out.
fn comment_above(source: &str, test: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| {
        let name = line.trim_start_matches("async ").strip_prefix("fn ");
        name.is_some_and(|name| name.strip_prefix(test).is_some_and(|rest| rest.starts_with('(')))
    })?;
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
    Some(above.filter(|line| line.starts_with("///")).copied().collect::<Vec<_>>().join(" "))
}

#[test]
fn every_number_has_a_test_that_names_it_or_a_reason() {
    let rows = rows();
    for number in numbers() {
        let proof = rows.get(&number).unwrap_or_else(|| panic!("R-{number:02} is missing"));
        let Some((path, test)) = proof.strip_prefix('`').and_then(|proof| proof.split('`').next()?.split_once("::"))
        else {
            assert!(proof.len() > 40, "R-{number:02} has neither a test nor a reason");
            continue;
        };
        let comment = comment_above(&read(path), test).unwrap_or_else(|| panic!("R-{number:02}: no {test} in {path}"));
        let names = comment.split(|letter: char| !letter.is_alphanumeric() && letter != '-');
        assert!(
            names.into_iter().any(|name| name == format!("R-{number:02}")),
            "R-{number:02}: {test} does not name it"
        );
    }
    assert_eq!(rows.len(), numbers().count(), "rows for numbers that are not of this table");
}
